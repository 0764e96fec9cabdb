// What the log costs: CPU per small entry with group commit, synced commits a second, and start-up time.
//   ninja -C build/release wal_bench && build/release/bin/wal_bench
// TENURE_BENCH_DIR chooses the disk (default: the current directory).
#include <benchmark/benchmark.h>
#include <time.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>

#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"
#include "wal/wal.h"

namespace tenure::wal {
namespace {

std::string MakeDirectory() {
  const char* base = std::getenv("TENURE_BENCH_DIR");
  std::string pattern = std::string(base == nullptr ? "." : base) + "/wal_bench_XXXXXX";
  return ::mkdtemp(pattern.data());
}

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

class Opened {
 public:
  Opened() : root_(MakeDirectory()), executor_("wal"), disk_(executor_) { Open(); }
  ~Opened() {
    executor_.Stop();
    wal_.reset();
    std::filesystem::remove_all(root_);
  }
  void Open() {
    auto opened = Wal::Open(disk_, executor_, root_, {}, Logger(), nullptr);
    if (!opened.ok()) std::abort();
    wal_ = *std::move(opened);
  }
  Wal& wal() { return *wal_; }

  // Keeps `outstanding` appends of one entry each under way, spread over `groups`, until `total` are durable.
  void Run(uint64_t total, uint64_t outstanding, uint64_t groups, size_t bytes, bool compact = true) {
    const Bytes payload(std::string(bytes, 'x'));
    std::unique_lock lock(mutex_);
    done_ = 0;
    for (uint64_t sent = 0; sent < total; ++sent) {
      ready_.wait(lock, [&] { return sent - done_ < outstanding; });
      lock.unlock();
      const GroupId group(sent % groups + 1);
      std::vector<Write> writes(1);
      writes[0].group = group;
      writes[0].entries.push_back({last_[group].Next(), Term(1), raft::EntryType::kCommand, payload});
      last_[group] = last_[group].Next();
      wal_->Append(std::move(writes), [this](Status) {
        const std::lock_guard guard(mutex_);
        ++done_;
        ready_.notify_one();
      });
      if (compact && sent % 10000 == 9999) {
        for (const auto& [id, last] : last_) wal_->Compact(id, {last.Previous(), Term(1), {}});
      }
      lock.lock();
    }
    ready_.wait(lock, [&] { return done_ == total; });
  }
  void CloseAndOpen() {
    wal_.reset();
    Open();
  }

 private:
  std::string root_;
  runtime::RealExecutor executor_;
  runtime::RealDisk disk_;
  std::unique_ptr<Wal> wal_;
  std::mutex mutex_;
  std::condition_variable ready_;
  uint64_t done_ = 0;
  std::map<GroupId, LogIndex> last_;
};

void BM_Append(benchmark::State& state) {
  Opened log;
  const auto outstanding = static_cast<uint64_t>(state.range(0));
  const uint64_t total = outstanding == 1 ? 5000 : 200000;
  double cpu = 0;
  for (auto _ : state) {
    const double before = CpuSeconds();
    log.Run(total, outstanding, 16, 128);
    cpu += CpuSeconds() - before;
  }
  const auto entries = static_cast<double>(state.iterations()) * static_cast<double>(total);
  state.counters["entries_per_s"] = benchmark::Counter(entries, benchmark::Counter::kIsRate);
  state.counters["cpu_us_per_entry"] =
      cpu * 1e6 / entries;  // of the whole process, this load generator included
}
BENCHMARK(BM_Append)->Arg(1)->Arg(64)->Arg(1024)->UseRealTime()->Unit(benchmark::kMillisecond);

// A start reads all of the log and compares every checksum; the files are in the page cache here.
void BM_Open(benchmark::State& state) {
  constexpr size_t kEntryBytes = 300;
  Opened log;
  const uint64_t bytes = static_cast<uint64_t>(state.range(0)) << 20;
  log.Run(bytes / kEntryBytes, 1024, 16, kEntryBytes, /*compact=*/false);
  uint64_t read = 0;
  for (auto _ : state) {
    log.CloseAndOpen();
    read += log.wal().bytes_on_disk();
  }
  state.counters["MB"] = static_cast<double>(log.wal().bytes_on_disk()) / 1e6;
  state.counters["MB_per_s"] =
      benchmark::Counter(static_cast<double>(read) / 1e6, benchmark::Counter::kIsRate);
}
BENCHMARK(BM_Open)->Arg(32)->Arg(512)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tenure::wal
