// Arrays in files: .npy as NumPy writes it, and raw numbers (little-endian, row by row) in any other file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "onnxplain.hpp"

namespace arrays {

struct Type {
    ONNXTensorElementDataType onnx;
    const char* npy;
    size_t size;
};

// Types that NumPy knows too. The others (bfloat16, …) can be read from raw files only.
inline const Type types[] = {
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, "<f4", 4},  {ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE, "<f8", 8},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, "<f2", 2}, {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, "<i8", 8},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, "<i4", 4},  {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16, "<i2", 2},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, "|i1", 1},   {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64, "<u8", 8},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32, "<u4", 4}, {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16, "<u2", 2},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, "|u1", 1},  {ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, "|b1", 1},
    {ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, "", 2},
};

inline const Type& type_of(ONNXTensorElementDataType onnx) {
    for (const Type& type : types)
        if (type.onnx == onnx) return type;
    throw std::invalid_argument("no file form for " + onnxplain::ExplainedModel::type_name(onnx));
}

inline std::string bytes_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::invalid_argument("no file at " + path);
    std::ostringstream bytes;
    bytes << file.rdbuf();
    return bytes.str();
}

inline Ort::Value filled(ONNXTensorElementDataType type, const std::vector<int64_t>& shape, const char* data) {
    Ort::Value value = onnxplain::ExplainedModel::allocate(type, shape);
    const auto size = static_cast<size_t>(onnxplain::ExplainedModel::count(shape)) * type_of(type).size;
    if (size) std::memcpy(value.GetTensorMutableRawData(), data, size);
    return value;
}

inline Ort::Value read_npy(const std::string& path) {
    const std::string bytes = bytes_of(path);
    if (bytes.size() < 12 || bytes.compare(0, 6, "\x93NUMPY") != 0) throw std::invalid_argument(path + " is no .npy file");
    const bool wide = bytes[6] > 1;  // versions 2 and 3 give the header's length in four bytes
    const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(bytes[i])); };
    const size_t length = byte(8) | byte(9) << 8 | (wide ? byte(10) << 16 | byte(11) << 24 : 0), start = wide ? 12 : 10;
    if (start + length > bytes.size()) throw std::invalid_argument(path + " is cut off");
    const std::string header = bytes.substr(start, length);
    std::smatch descr, order, extents;
    if (!std::regex_search(header, descr, std::regex("'descr': *'([^']*)'")) ||
        !std::regex_search(header, order, std::regex("'fortran_order': *(True|False)")) ||
        !std::regex_search(header, extents, std::regex("'shape': *\\(([^)]*)\\)")))
        throw std::invalid_argument(path + " has a header of another kind (structured types are not read)");
    if (order[1] == "True") throw std::invalid_argument(path + " is stored column by column; save np.ascontiguousarray of it");
    const Type* type = std::find_if(std::begin(types), std::end(types), [&](const Type& t) { return descr[1] == t.npy; });
    if (type == std::end(types)) throw std::invalid_argument(path + " holds '" + descr[1].str() + "', which no model takes");
    std::vector<int64_t> shape;
    std::istringstream list(extents[1]);
    for (std::string extent; std::getline(list, extent, ',');)
        if (extent.find_first_not_of(' ') != std::string::npos) shape.push_back(std::stoll(extent));
    const size_t wanted = static_cast<size_t>(onnxplain::ExplainedModel::count(shape)) * type->size;
    if (bytes.size() - start - length < wanted) throw std::invalid_argument(path + " is cut off");
    return filled(type->onnx, shape, bytes.data() + start + length);
}

// Raw numbers in the type of an input. The one extent that is free follows from the file's size.
inline Ort::Value read_raw(const std::string& path, const onnxplain::Port& port, std::vector<int64_t> shape) {
    const std::string bytes = bytes_of(path);
    const size_t size = type_of(port.type).size;
    if (shape.empty()) shape = port.shape;
    const auto free = std::count(shape.begin(), shape.end(), int64_t{-1});
    if (free == 1) {
        int64_t known = static_cast<int64_t>(size);
        for (const int64_t extent : shape) known *= extent < 0 ? 1 : extent;
        if (known == 0 || static_cast<int64_t>(bytes.size()) % known)
            throw std::invalid_argument(path + " has " + std::to_string(bytes.size()) + " bytes; one row of " +
                                        onnxplain::ExplainedModel::shape_text(shape, port.symbols) + " of " +
                                        onnxplain::ExplainedModel::type_name(port.type) + " has " + std::to_string(known));
        *std::find(shape.begin(), shape.end(), int64_t{-1}) = static_cast<int64_t>(bytes.size()) / known;
    }
    const std::string text = onnxplain::ExplainedModel::shape_text(shape, port.symbols);
    if (free > 1) throw std::invalid_argument(path + ": the shape " + text + " is not settled; write " + path + ":2x3x8x8");
    const size_t wanted = static_cast<size_t>(onnxplain::ExplainedModel::count(shape)) * size;
    if (bytes.size() != wanted)
        throw std::invalid_argument(path + " has " + std::to_string(bytes.size()) + " bytes; " + text + " of " +
                                    onnxplain::ExplainedModel::type_name(port.type) + " has " + std::to_string(wanted));
    return filled(port.type, shape, bytes.data());
}

inline void write_npy(const std::string& path, const Ort::Value& value) {
    const auto info = value.GetTensorTypeAndShapeInfo();
    const Type& type = type_of(info.GetElementType());
    if (!*type.npy) throw std::invalid_argument("NumPy has no " + onnxplain::ExplainedModel::type_name(type.onnx));
    std::string shape;
    for (const int64_t extent : info.GetShape()) shape += std::to_string(extent) + ",";
    std::string header = std::string("{'descr': '") + type.npy + "', 'fortran_order': False, 'shape': (" + shape + "), }";
    header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10, ' ');  // the data starts at a multiple of 64 bytes
    header.back() = '\n';
    std::ofstream file(path, std::ios::binary);
    file << "\x93NUMPY" << '\x01' << '\0' << static_cast<char>(header.size() & 0xFF) << static_cast<char>(header.size() >> 8) << header;
    file.write(static_cast<const char*>(value.GetTensorRawData()), static_cast<std::streamsize>(info.GetElementCount() * type.size));
    if (!file) throw std::runtime_error("cannot write " + path);
}

}  // namespace arrays
