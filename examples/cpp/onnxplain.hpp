// Running explained models (files written by `onnxplain rewrite`) in C++17, with ONNX Runtime and nothing else.
//
// One header, one class: copy it into your pipeline.
//
//   Ort::Env env;
//   onnxplain::ExplainedModel model(env, "explained.onnx");
//   onnxplain::Tensors feeds;
//   feeds.emplace("image", model.borrow(pixels.data(), {1, 1, 8, 8}));
//   onnxplain::Tensors results = model.run(feeds);          // the model's own outputs and the attributions, by name
//   const float* relevance = results.at("image_attribution").GetTensorData<float>();
//
// The contract of explained models is docs/contract.md. SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <onnxruntime_cxx_api.h>

namespace onnxplain {

/// Tensors by the names of inputs or outputs.
using Tensors = std::map<std::string, Ort::Value>;

/// What the file says of itself: an object or array has `members` (those of an array are unnamed), anything else has `text`.
struct Metadata {
    std::string text;
    std::vector<std::pair<std::string, Metadata>> members;

    /// The member of that name; an empty one where there is none.
    const Metadata& operator[](std::string_view name) const {
        static const Metadata none;
        for (const auto& [key, value] : members)
            if (key == name) return value;
        return none;
    }
};

/// An input or output. An extent that is free is -1; its symbol, where it has one, stands in `symbols`.
struct Port {
    std::string name;
    ONNXType kind = ONNX_TYPE_UNKNOWN;
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    std::vector<int64_t> shape;
    std::vector<std::string> symbols;
};

/// One attribution: the output `name` explains what the user calls `explains` (an input or an inner tensor). `kind` says
/// where it lies: "input", "layer", or for integer inputs "embedding" and "cast"; `tensor` is that place in the graph.
struct Attribution {
    std::string name, explains, tensor, kind;
};

/// An explained model, loaded. `run` may be called from several threads at once, as ONNX Runtime's own.
class ExplainedModel {
public:
    /// Load a file.
    /// Throws Ort::Exception where ONNX Runtime does not load it, std::invalid_argument where it is no explained model.
    ExplainedModel(const Ort::Env& env, const std::filesystem::path& file, const Ort::SessionOptions& options = Ort::SessionOptions())
        : session_(env, file.c_str(), options) {
        Ort::AllocatorWithDefaultOptions allocator;
        const auto text = session_.GetModelMetadata().LookupCustomMetadataMapAllocated("onnxplain", allocator);
        if (!text)
            throw std::invalid_argument(file.string() + " is no explained model; make one: onnxplain rewrite MODEL -o FILE");
        text_ = text.get();
        metadata_ = Reader{text_}.document();
        if (metadata_["contract"].text != "1")
            throw std::invalid_argument(file.string() + " follows contract '" + metadata_["contract"].text +
                                        "', this header knows contract 1; take the header of the onnxplain that wrote it");
        for (size_t i = 0; i < session_.GetInputCount(); ++i)
            inputs_.push_back(described(session_.GetInputNameAllocated(i, allocator).get(), session_.GetInputTypeInfo(i)));
        for (size_t i = 0; i < session_.GetOutputCount(); ++i)
            outputs_.push_back(described(session_.GetOutputNameAllocated(i, allocator).get(), session_.GetOutputTypeInfo(i)));
        for (const auto& [name, entry] : metadata_["attributions"].members)
            attributions_.push_back({name, entry["explains"].text, entry["tensor"].text, entry["kind"].text});
    }

    /// All inputs, and all outputs, in the file's order: the model's own come first.
    const std::vector<Port>& inputs() const { return inputs_; }
    const std::vector<Port>& outputs() const { return outputs_; }

    /// The attributions among the outputs.
    const std::vector<Attribution>& attributions() const { return attributions_; }

    /// The method, e.g. "lrp-epsilon"; and the target: "top", "3", "input" (chosen at run time), ….
    const std::string& method() const { return metadata_["method"].text; }
    const std::string& target() const { return metadata_["target"].text; }

    /// The output of the model that is explained.
    const std::string& explained_output() const { return metadata_["output"].text; }

    /// Names of the inputs that were left to run time; empty where the file has none.
    const std::string& target_input() const { return metadata_["run_time_inputs"]["target"].text; }
    const std::string& seed_input() const { return metadata_["run_time_inputs"]["seed"].text; }

    /// Of the other kinds ("baseline", "noise", "path", "mask", …) there is one for each input or tensor that they belong to.
    const std::string& run_time_input(std::string_view kind, std::string_view belongs_to) const {
        return metadata_["run_time_inputs"][kind][belongs_to].text;
    }

    /// Whether an input was left to run time, rather than being the model's own.
    bool is_run_time(std::string_view name) const {
        for (const auto& [kind, entry] : metadata_["run_time_inputs"].members) {
            if (entry.text == name) return true;
            for (const auto& [belongs_to, input] : entry.members)
                if (input.text == name) return true;
        }
        return false;
    }

    /// The output with a further result, e.g. "delta", the completeness gap of methods that integrate; empty where there is none.
    const std::string& report(std::string_view kind) const { return metadata_["reports"][kind].text; }

    /// All that the file says of itself, read and as the JSON text it is.
    const Metadata& metadata() const { return metadata_; }
    const std::string& metadata_text() const { return text_; }

    /// ONNX Runtime's own session, for what this class does not do (I/O binding, profiling).
    Ort::Session& session() const { return session_; }

    /// The input or output of that name. Throws std::invalid_argument where there is none.
    const Port& port(std::string_view name) const {
        for (const auto* ports : {&inputs_, &outputs_})
            for (const Port& p : *ports)
                if (p.name == name) return p;
        throw std::invalid_argument("no input or output '" + std::string(name) + "'");
    }

    /// A tensor on the CPU around data that stays the caller's, row by row; the data must outlive it.
    template <typename T>
    static Ort::Value borrow(T* data, const std::vector<int64_t>& shape) {
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeCPU);
        return Ort::Value::CreateTensor<T>(memory, data, static_cast<size_t>(count(shape)), shape.data(), shape.size());
    }

    /// A tensor on the CPU that owns its memory, not filled.
    static Ort::Value allocate(ONNXTensorElementDataType type, const std::vector<int64_t>& shape) {
        Ort::AllocatorWithDefaultOptions allocator;
        return Ort::Value::CreateTensor(allocator, shape.data(), shape.size(), type);
    }

    /// How many elements a shape has.
    static int64_t count(const std::vector<int64_t>& shape) {
        int64_t total = 1;
        for (const int64_t extent : shape) total *= extent;
        return total;
    }

    /// Predict and explain.
    ///
    /// `feeds` holds the model's inputs, and the run-time inputs (`seed`, `baseline`, …) where the file has them. `target` is one
    /// index per sample or one for all, where the file has the input `target`; negative means the sample's top prediction, and
    /// so does leaving it out. An index beyond the last element gives an attribution of NaN.
    ///
    /// Throws std::invalid_argument with all that does not fit (names, types, shapes, NaN), Ort::Exception where the run fails.
    Tensors run(const Tensors& feeds, const std::vector<int64_t>& target = {}) const {
        std::vector<int64_t> chosen = target.empty() ? std::vector<int64_t>{-1} : target;
        Ort::Value index{nullptr};
        const bool fill = !target_input().empty() && feeds.find(target_input()) == feeds.end();
        if (fill) index = borrow(chosen.data(), {static_cast<int64_t>(chosen.size())});
        if (!target.empty() && !fill)
            throw std::invalid_argument(target_input().empty() ? "the target is fixed in this file ('" + this->target() +
                                                                     "'); rewrite with --target input to choose it at run time"
                                                               : "the target is given twice");
        const std::string problems = mismatches(feeds, fill);
        if (!problems.empty()) throw std::invalid_argument(problems);

        std::vector<const char*> names, wanted;
        std::vector<const OrtValue*> values;
        for (const Port& p : inputs_) {
            names.push_back(p.name.c_str());
            values.push_back(fill && p.name == target_input() ? index : feeds.at(p.name));
        }
        for (const Port& p : outputs_) wanted.push_back(p.name.c_str());
        std::vector<OrtValue*> made(wanted.size(), nullptr);
        const Ort::RunOptions options;
        Ort::ThrowOnError(Ort::GetApi().Run(session_, options, names.data(), values.data(), values.size(), wanted.data(),
                                            wanted.size(), made.data()));
        Tensors results;
        for (size_t i = 0; i < made.size(); ++i) results.emplace(outputs_[i].name, Ort::Value{made[i]});
        return results;
    }

    /// The name of an element type as ONNX writes it.
    static std::string type_name(ONNXTensorElementDataType type) {
        static const char* const names[] = {"undefined", "float",  "uint8",  "int8",   "uint16",    "int16",      "int32",
                                            "int64",     "string", "bool",   "float16", "double",   "uint32",     "uint64",
                                            "complex64", "complex128", "bfloat16"};
        const auto index = static_cast<size_t>(type);
        return index < sizeof(names) / sizeof(names[0]) ? names[index] : "type " + std::to_string(index);
    }

    /// A shape for people: [batch, 3, 8, 8].
    static std::string shape_text(const std::vector<int64_t>& shape, const std::vector<std::string>& symbols = {}) {
        std::string text = "[";
        for (size_t i = 0; i < shape.size(); ++i) {
            const bool named = i < symbols.size() && !symbols[i].empty();
            text += (i ? ", " : "") + (shape[i] >= 0 ? std::to_string(shape[i]) : named ? symbols[i] : std::string("?"));
        }
        return text + "]";
    }

private:
    // Reads the JSON that onnxplain writes: any valid JSON, which it is not asked to judge.
    struct Reader {
        std::string_view text;
        size_t at = 0;

        Metadata document() {
            Metadata read = value();
            skip();
            if (at != text.size()) fail();
            return read;
        }

        Metadata value() {
            skip();
            const char first = peek();
            if (first == '{' || first == '[') return several(first == '{' ? '}' : ']');
            Metadata read;
            if (first == '"') {
                read.text = string();
            } else {
                const size_t start = at;
                while (at < text.size() && std::string_view(",]} \t\r\n").find(text[at]) == std::string_view::npos) ++at;
                read.text = text.substr(start, at - start);
                if (read.text.empty()) fail();
                if (read.text == "null") read.text.clear();
            }
            return read;
        }

        Metadata several(char end) {
            Metadata read;
            ++at;
            for (skip(); peek() != end; skip()) {
                std::string name;
                if (end == '}') {
                    name = string();
                    skip();
                    if (peek() != ':') fail();
                    ++at;
                }
                Metadata member = value();
                read.members.emplace_back(std::move(name), std::move(member));
                skip();
                if (peek() == ',') ++at;
                else if (peek() != end) fail();
            }
            ++at;
            return read;
        }

        std::string string() {
            if (peek() != '"') fail();
            std::string read;
            for (++at; peek() != '"'; ++at) {
                if (text[at] != '\\') {
                    read += text[at];
                    continue;
                }
                ++at;
                switch (peek()) {
                    case 'n': read += '\n'; break;
                    case 't': read += '\t'; break;
                    case 'r': read += '\r'; break;
                    case 'b': read += '\b'; break;
                    case 'f': read += '\f'; break;
                    case 'u': append(read, code_point()); break;
                    default: read += text[at];
                }
            }
            ++at;
            return read;
        }

        // \uXXXX, or two of them for what lies beyond the first plane; leaves `at` on the last digit.
        uint32_t code_point() {
            uint32_t point = hex();
            if (point >= 0xD800 && point < 0xDC00 && text.substr(at + 1, 2) == "\\u") {
                at += 2;
                point = 0x10000 + ((point - 0xD800) << 10) + (hex() - 0xDC00);
            }
            return point;
        }

        uint32_t hex() {
            if (at + 5 > text.size()) fail();
            const uint32_t point = static_cast<uint32_t>(std::strtoul(std::string(text.substr(at + 1, 4)).c_str(), nullptr, 16));
            at += 4;
            return point;
        }

        static void append(std::string& to, uint32_t point) {
            const auto more = [&](int shift) { to += static_cast<char>(0x80 | ((point >> shift) & 0x3F)); };
            if (point < 0x80) {
                to += static_cast<char>(point);
            } else if (point < 0x800) {
                to += static_cast<char>(0xC0 | (point >> 6));
                more(0);
            } else if (point < 0x10000) {
                to += static_cast<char>(0xE0 | (point >> 12));
                more(6), more(0);
            } else {
                to += static_cast<char>(0xF0 | (point >> 18));
                more(12), more(6), more(0);
            }
        }

        void skip() {
            while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r')) ++at;
        }

        char peek() const {
            if (at >= text.size()) fail();
            return text[at];
        }

        [[noreturn]] static void fail() { throw std::invalid_argument("the metadata of the file is damaged: it is no JSON"); }
    };

    static Port described(std::string name, const Ort::TypeInfo& info) {
        Port made;
        made.name = std::move(name);
        made.kind = info.GetONNXType();
        if (made.kind != ONNX_TYPE_TENSOR) return made;
        const auto tensor = info.GetTensorTypeAndShapeInfo();
        made.type = tensor.GetElementType();
        made.shape = tensor.GetShape();
        std::vector<const char*> symbols(made.shape.size(), "");
        if (!symbols.empty()) tensor.GetSymbolicDimensions(symbols.data(), symbols.size());
        made.symbols.assign(symbols.begin(), symbols.end());
        return made;
    }

    // Everything wrong with the inputs, in one line; empty where they fit.
    std::string mismatches(const Tensors& feeds, bool target_is_filled) const {
        std::string problems;
        const auto add = [&](const std::string& problem) { problems += (problems.empty() ? "" : "; ") + problem; };
        for (const auto& [name, value] : feeds) {
            bool known = false;
            for (const Port& p : inputs_) known = known || p.name == name;
            if (!known) add("no input '" + name + "' in the model");
        }
        for (const Port& p : inputs_) {
            if (target_is_filled && p.name == target_input()) continue;
            const std::string expected = "input '" + p.name + "' expects " + type_name(p.type) + " " + shape_text(p.shape, p.symbols);
            const auto found = feeds.find(p.name);
            if (found == feeds.end()) {
                add(expected + ", and is missing");
                continue;
            }
            if (p.kind != ONNX_TYPE_TENSOR || !found->second.IsTensor()) continue;  // ONNX Runtime says what it thinks of those
            const auto given = found->second.GetTensorTypeAndShapeInfo();
            const auto shape = given.GetShape();
            bool fits = given.GetElementType() == p.type && shape.size() == p.shape.size();
            for (size_t i = 0; fits && i < shape.size(); ++i) fits = p.shape[i] < 0 || p.shape[i] == shape[i];
            if (!fits) add(expected + ", got " + type_name(given.GetElementType()) + " " + shape_text(shape));
            else if (const std::string bad = not_finite(found->second); !bad.empty()) add("input '" + p.name + "' holds " + bad);
        }
        return problems;
    }

    // The first element that is no finite number, with its place; empty where all are, or where they lie on a device.
    static std::string not_finite(const Ort::Value& value) {
        if (value.GetTensorMemoryInfo().GetDeviceType() != OrtMemoryInfoDeviceType_CPU) return "";
        const auto info = value.GetTensorTypeAndShapeInfo();
        const size_t total = info.GetElementCount();
        const void* data = value.GetTensorRawData();
        size_t at = total;
        bool nan = false;
        const auto find = [&](const auto* bits, auto exponent, auto fraction) {
            for (size_t i = 0; i < total && at == total; ++i)
                if ((bits[i] & exponent) == exponent) at = i, nan = (bits[i] & fraction) != 0;
        };
        switch (info.GetElementType()) {
            case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: find(static_cast<const uint32_t*>(data), 0x7F800000U, 0x007FFFFFU); break;
            case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE:
                find(static_cast<const uint64_t*>(data), uint64_t{0x7FF} << 52, (uint64_t{1} << 52) - 1);
                break;
            case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: find(static_cast<const uint16_t*>(data), 0x7C00, 0x03FF); break;
            case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16: find(static_cast<const uint16_t*>(data), 0x7F80, 0x007F); break;
            default: return "";
        }
        if (at == total) return "";
        std::vector<int64_t> place = info.GetShape();
        for (size_t axis = place.size(); axis-- > 0;) {
            const auto extent = static_cast<size_t>(place[axis]);
            place[axis] = static_cast<int64_t>(at % extent);
            at /= extent;
        }
        return std::string(nan ? "nan" : "infinity") + " at " + shape_text(place) + "; explanations need finite numbers";
    }

    mutable Ort::Session session_;  // running does not change it, though ONNX Runtime's method is not const
    std::string text_;
    Metadata metadata_;
    std::vector<Port> inputs_, outputs_;
    std::vector<Attribution> attributions_;
};

}  // namespace onnxplain
