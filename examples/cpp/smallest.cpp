// The smallest host: an explained model is run like any other, with ONNX Runtime alone.
#include <cstdint>
#include <cstdio>
#include <vector>

#include <onnxruntime_cxx_api.h>

int main() {
    Ort::Env env;
    Ort::Session session(env, "explained.onnx", Ort::SessionOptions{});

    std::vector<float> image(64, 0.5f);   // one grey 8×8 picture
    std::vector<int64_t> target{3};       // explain the 3; -1: the top prediction
    const std::vector<int64_t> image_shape{1, 1, 8, 8}, target_shape{1};

    const auto cpu = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeCPU);
    std::vector<Ort::Value> values;
    values.push_back(Ort::Value::CreateTensor<float>(cpu, image.data(), image.size(), image_shape.data(), 4));
    values.push_back(Ort::Value::CreateTensor<int64_t>(cpu, target.data(), 1, target_shape.data(), 1));

    const char* inputs[] = {"image", "target"};
    const char* outputs[] = {"logits", "image_attribution"};
    const auto results = session.Run(Ort::RunOptions{}, inputs, values.data(), 2, outputs, 2);

    std::printf("score of the 3: %g\n", results[0].GetTensorData<float>()[3]);
    for (int i = 0; i < 64; ++i) std::printf("%8.3f%s", results[1].GetTensorData<float>()[i], i % 8 == 7 ? "\n" : "");
}
