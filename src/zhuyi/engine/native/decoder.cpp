#include <atomic>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(_WIN32)
#define PUBLIC extern "C" __declspec(dllexport)
#else
#define PUBLIC extern "C" __attribute__((visibility("default")))
#endif

PUBLIC double zhuyi_check(int precision) {
    std::vector<float> a(64), b(64);
    for (int i = 0; i < 64; i++) a[i] = std::sin(i + precision), b[i] = std::cos(i);
    std::atomic<int> done{0};
    std::mutex mutex;
    std::condition_variable changed;
    double sum = 0;
    std::thread worker([&] {
        float s = 0;
        for (int i = 0; i < 64; i++) s += a[i] * b[i];
        std::lock_guard lock(mutex);
        sum = s;
        done = 1;
        changed.notify_one();
    });
    {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return done == 1; });
    }
    worker.join();
    double exact = 0;
    for (int i = 0; i < 64; i++) exact += double(a[i]) * b[i];
    return std::abs(sum - exact);
}
