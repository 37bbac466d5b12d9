// Runs any explained model on arrays from files and writes what it returns: the prediction and the attributions.
//
//   explain explained.onnx image=digit_3.npy --target -1 --out results
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "onnxplain.hpp"

namespace {

const char usage[] = R"(usage: explain FILE.onnx [NAME=]ARRAY… [options]

  [NAME=]ARRAY         a .npy file, or a file of raw numbers in the input's own type; FILE:2x3x8x8 says a raw file's shape.
                       The name may be left out where the model has one input. Inputs left to run time are given likewise.
  --target I[,I…]      what to explain, one index per sample or one for all; negative: the top prediction (the default)
  --baseline [NAME=]A  the reference input: an array or one number; once per explained input
  --seed ARRAY         the vector to multiply the Jacobian with, where the file has that input
  --out DIR            where to write every output, as NAME.npy (default: write nothing)
  --threads N          threads within one operator (default: ONNX Runtime's choice)
  --cuda               run on CUDA
)";

struct Arguments {
    std::string file, out, seed;
    std::vector<std::string> inputs, baselines;
    std::vector<int64_t> target;
    int threads = 0;
    bool cuda = false;
};

std::vector<std::string> split(const std::string& text, char at) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
    return parts;
}

template <typename Number>
std::optional<Number> number(const std::string& text) {
    std::istringstream stream(text);
    Number read;
    return stream >> read && stream.eof() ? std::optional<Number>(read) : std::nullopt;
}

int64_t whole(const std::string& text, const std::string& option) {
    if (const auto read = number<int64_t>(text)) return *read;
    throw std::invalid_argument(option + " takes whole numbers, not '" + text + "'");
}

Arguments parse(int count, char** words) {
    Arguments given;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        const auto value = [&]() -> std::string {
            if (i + 1 == count) throw std::invalid_argument(word + " needs a value");
            return words[++i];
        };
        if (word == "--target") for (const auto& part : split(value(), ',')) given.target.push_back(whole(part, word));
        else if (word == "--baseline") given.baselines.push_back(value());
        else if (word == "--seed") given.seed = value();
        else if (word == "--out") given.out = value();
        else if (word == "--threads") given.threads = static_cast<int>(whole(value(), word));
        else if (word == "--cuda") given.cuda = true;
        else if (word.rfind("--", 0) == 0) throw std::invalid_argument("unknown option " + word);
        else if (given.file.empty()) given.file = word;
        else given.inputs.push_back(word);
    }
    return given;
}

// NAME=REST with one of the names, or REST alone for the only one that need not be named.
std::pair<std::string, std::string> named(const std::string& text, const std::vector<std::string>& plain,
                                          const std::vector<std::string>& names, const std::string& what) {
    for (const std::string& name : names)  // names may hold "=" themselves
        if (text.rfind(name + "=", 0) == 0) return {name, text.substr(name.size() + 1)};
    if (plain.size() == 1 && text.find('=') == std::string::npos) return {plain[0], text};
    std::string known;
    for (const std::string& name : names) known += (known.empty() ? "" : ", ") + name;
    throw std::invalid_argument("say which " + what + " '" + text + "' is, as NAME=…; there " + (names.size() == 1 ? "is " : "are ") +
                                (known.empty() ? "none" : known));
}

Ort::Value read(const std::string& text, const onnxplain::Port& port) {
    const auto ends = [&](const std::string& end) { return text.size() > end.size() && text.substr(text.size() - end.size()) == end; };
    if (ends(".npy")) return arrays::read_npy(text);
    const size_t colon = text.rfind(':');
    std::vector<int64_t> shape;
    if (colon != std::string::npos && text.find_first_not_of("0123456789x", colon + 1) == std::string::npos)
        for (const auto& extent : split(text.substr(colon + 1), 'x')) shape.push_back(whole(extent, "a shape"));
    return arrays::read_raw(shape.empty() ? text : text.substr(0, colon), port, shape);
}

// A baseline of one number: a tensor of that number, every free extent 1, which the file spreads over the batch.
Ort::Value constant(float value, const onnxplain::Port& port, const Ort::Value* like) {
    std::vector<int64_t> shape = like ? like->GetTensorTypeAndShapeInfo().GetShape() : port.shape;
    for (int64_t& extent : shape) extent = extent < 0 ? 1 : extent;
    Ort::Value made = onnxplain::ExplainedModel::allocate(port.type, shape);
    const auto count = static_cast<size_t>(onnxplain::ExplainedModel::count(shape));
    if (port.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) std::fill_n(made.GetTensorMutableData<float>(), count, value);
    else if (port.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE) std::fill_n(made.GetTensorMutableData<double>(), count, double{value});
    else if (port.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16)
        std::fill_n(made.GetTensorMutableData<Ort::Float16_t>(), count, Ort::Float16_t(value));
    else throw std::invalid_argument("a baseline of " + onnxplain::ExplainedModel::type_name(port.type) + " is given as an array");
    return made;
}

onnxplain::Tensors feeds_of(const onnxplain::ExplainedModel& model, const Arguments& given) {
    onnxplain::Tensors feeds;
    std::vector<std::string> own, all, explained;
    for (const auto& [name, unused] : model.metadata()["run_time_inputs"]["baseline"].members) explained.push_back(name);
    for (const onnxplain::Port& port : model.inputs()) {
        all.push_back(port.name);
        if (!model.is_run_time(port.name)) own.push_back(port.name);
    }
    for (const std::string& text : given.inputs) {
        const auto [name, array] = named(text, own, all, "input");
        feeds.emplace(name, read(array, model.port(name)));
    }
    for (const std::string& text : given.baselines) {
        const auto [name, array] = named(text, explained, explained, "baseline");
        const onnxplain::Port& port = model.port(model.run_time_input("baseline", name));
        const auto fed = feeds.find(name);
        const auto value = number<float>(array);
        feeds.emplace(port.name, value ? constant(*value, port, fed == feeds.end() ? nullptr : &fed->second) : read(array, port));
    }
    if (!given.seed.empty()) {
        if (model.seed_input().empty()) throw std::invalid_argument("this file has no input 'seed'; rewrite with --target seed");
        feeds.emplace(model.seed_input(), read(given.seed, model.port(model.seed_input())));
    }
    return feeds;
}

// Characters that file names cannot hold become "_".
std::string file_name(const std::string& name) {
    std::string safe = name;
    for (char& c : safe)
        if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.' && c != '_') c = '_';
    return safe;
}

void write(const onnxplain::ExplainedModel& model, const onnxplain::Tensors& results, const std::string& folder) {
    if (!folder.empty()) std::filesystem::create_directories(folder);
    for (const onnxplain::Port& port : model.outputs()) {
        const Ort::Value& value = results.at(port.name);
        const bool numbers = value.IsTensor() && port.type != ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING;
        std::string line = port.name + ": ";
        if (!numbers) {
            line += "no tensor of numbers, not written";
        } else {
            const auto info = value.GetTensorTypeAndShapeInfo();
            line += model.type_name(info.GetElementType()) + " " + model.shape_text(info.GetShape());
            const auto path = std::filesystem::path(folder) / (file_name(port.name) + ".npy");
            if (!folder.empty()) {
                arrays::write_npy(path.string(), value);
                line += " -> " + path.string();
            }
        }
        std::printf("%s\n", line.c_str());
    }
}

}  // namespace

int main(int count, char** words) try {
    const Arguments given = parse(count, words);
    if (given.file.empty()) {
        std::fputs(usage, stderr);
        return 2;
    }
    const Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "explain");
    Ort::SessionOptions options;
    if (given.threads > 0) options.SetIntraOpNumThreads(given.threads);
    if (given.cuda) options.AppendExecutionProvider_CUDA(OrtCUDAProviderOptions{});
    const onnxplain::ExplainedModel model(env, given.file, options);
    std::printf("%s of '%s', target %s\n", model.method().c_str(), model.explained_output().c_str(), model.target().c_str());
    write(model, model.run(feeds_of(model, given), given.target), given.out);
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "explain: %s\n", error.what());
    return 2;
}
