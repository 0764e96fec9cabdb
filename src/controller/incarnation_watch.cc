#include "controller/incarnation_watch.h"

#include <algorithm>
#include <utility>

#include "tenure/v1/cluster.pb.h"

namespace tenure::controller {
namespace {

namespace pb = ::tenure::v1;
constexpr std::string_view kStatus = "tenure.v1.Cluster/Status";
constexpr Duration kTimeout = std::chrono::milliseconds(200);
constexpr Duration kInterval = std::chrono::milliseconds(200);

}  // namespace

IncarnationWatch::IncarnationWatch(runtime::Executor& executor, runtime::Network& network,
                                   std::string cluster_id, uint64_t incarnation,
                                   std::function<void(uint64_t incarnation)> on_superseded)
    : executor_(executor),
      network_(network),
      cluster_id_(std::move(cluster_id)),
      incarnation_(incarnation),
      on_superseded_(std::move(on_superseded)) {}

IncarnationWatch::~IncarnationWatch() {
  *alive_ = false;
}

void IncarnationWatch::Start(const std::vector<runtime::Endpoint>& others) {
  // A process that does not know its cluster yet cannot have been left behind.
  if (cluster_id_.empty()) return;
  silent_.insert(others.begin(), others.end());
  AskAll();
}

void IncarnationWatch::Stop() {
  timer_.Cancel();
  silent_.clear();
}

void IncarnationWatch::AskAll() {
  if (silent_.empty()) return;
  for (const runtime::Endpoint& other : silent_) {
    network_.Call(other, kStatus, pb::StatusRequest().SerializeAsString(), kTimeout,
                  [this, alive = alive_, other](const StatusOr<std::string>& bytes) {
                    if (*alive) OnAnswer(other, bytes);
                  });
  }
  timer_ = executor_.After(kInterval, [this] { AskAll(); });
}

void IncarnationWatch::OnAnswer(const runtime::Endpoint& from, const StatusOr<std::string>& bytes) {
  pb::StatusResponse response;
  if (!silent_.contains(from) || !bytes.ok() || !response.ParseFromString(*bytes)) return;
  silent_.erase(from);
  if (response.cluster_id() == cluster_id_ && response.incarnation() > incarnation_) {
    Stop();
    on_superseded_(response.incarnation());
  }
}

}  // namespace tenure::controller
