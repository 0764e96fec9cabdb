#include "sim/log_repair.h"

#include "base/format.h"

namespace tenure::sim {
namespace {

constexpr int kAttempts = 20;

}  // namespace

LogRepair::LogRepair(Scheduler& world, SimClock& clock, SimDisk& disk, std::string directory,
                     wal::WalOptions options, Prng prng, Logger logger, Done done)
    : disk_(disk),
      directory_(std::move(directory)),
      options_(options),
      prng_(std::move(prng)),
      logger_(std::move(logger)),
      done_(std::move(done)),
      process_(world, clock, "repair", prng_.Fork("process")),
      executor_(process_.AddExecutor("repair")) {
  executor_.Post([this] { Run(); });
}

LogRepair::~LogRepair() {
  process_.Kill();
}

void LogRepair::Run() {
  view_ = disk_.MakeView(process_, executor_);
  if (!Rot()) return End(OkStatus());
  wal::BuildRepairedLog(*view_, executor_, directory_, plan_, options_, logger_, [this](Status status) {
    if (status.ok()) status = wal::SwapLogs(*view_, directory_).status();
    End(std::move(status));
  });
}

bool LogRepair::Rot() {
  std::vector<std::string> segments;
  for (const std::string& path : disk_.Paths()) {
    if (path.starts_with(directory_ + "/wal/") && path.ends_with(".wal")) segments.push_back(path);
  }
  for (int attempt = 0; attempt < kAttempts && !segments.empty(); ++attempt) {
    const std::string& path = segments[prng_.Below(segments.size())];
    const std::string content = disk_.Content(path).value_or("");
    const size_t last = content.find_last_not_of('\0');
    if (last == std::string::npos) continue;
    const uint64_t byte = prng_.Below(last + 1);
    const auto bit = static_cast<unsigned>(prng_.Below(8));
    disk_.FlipBit(path, byte, bit);
    auto plan = wal::PlanRepair(*view_, directory_, {});
    if (plan.ok() && !plan->everything && !plan->dropped.empty() && !plan->dropped.contains(kCatalogGroup)) {
      logger_.Warn("bit {} of byte {} of {} flips: {}", bit, byte, path, plan->damage->ToString());
      plan_ = *std::move(plan);
      return true;
    }
    disk_.FlipBit(path, byte, bit);
  }
  return false;
}

void LogRepair::End(Status status) {
  std::set<GroupId> dropped;
  for (const auto& [group, damage] : plan_.dropped) dropped.insert(group);
  done_(std::move(status), std::move(dropped));
}

}  // namespace tenure::sim
