// What the leader has heard of the nodes, sent to the other controllers every now and then (not through the
// log: it is old in a moment), so that whoever leads next knows whom to expect.
//
// It also says how far the leader is (its phase), which nobody else can know.
//
// The sending doubles as the sample of the other controllers: an answer, whatever it says, or a refused
// connection is one; silence is not.
//
// Threading:  the controller's executor.
// Lifetime:   destruction drops what is under way.
// Invariants: V1 a view of a lower leadership epoch does not replace one of a higher.
//             V2 a view grows older while it lies here: `silent_ms` counts to the moment it is looked at.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/ids.h"
#include "base/log.h"
#include "controller/controller_directory.h"
#include "controller/leadership/leader_service.h"
#include "controller/leadership/leadership.h"
#include "controller/membership/announcing.h"
#include "controller/nodes/load_table.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/internal/v1/controllers.pb.h"

namespace tenure::controller {

struct StandbyOptions {
  Duration interval = std::chrono::seconds(1);
  Duration interval_until_serving =
      std::chrono::milliseconds(200);  // so that the others soon know that it serves
  Duration timeout = std::chrono::seconds(1);
};

class StandbyView : public LeaderService, public runtime::Service {
 public:
  static constexpr std::string_view kName = "tenure.internal.v1.Standby";

  StandbyView(runtime::Executor& executor, runtime::Network& network, Leadership& leadership, OwnCluster own,
              const ControllerDirectory& directory, const LoadTable& load, StandbyOptions options);
  ~StandbyView() override { *alive_ = false; }

  // Called when another controller has given its first sample of this leadership.
  void SetOnSample(std::function<void()> on_sample) { on_sample_ = std::move(on_sample); }
  // Whether the controller has given a sample in this leadership.
  bool HasSample(ReplicaId controller) const { return sampled_.contains(controller); }

  // How old the last view that was received is; none if there is none.
  std::optional<Duration> Age() const;
  // Of a node in that view, by now.
  struct Seen {
    uint64_t registration_epoch = 0;
    Duration silence{};
    bool connected = false;
  };
  std::optional<Seen> Find(NodeId node) const;

  // LeaderService
  std::string_view name() const override { return "standby view"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;
  // runtime::Service
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }

 private:
  void OnBeat();
  void OnAnswer(Term epoch, ReplicaId controller, const Status& answer);
  ::tenure::internal::v1::LoadView Current() const;
  Status Take(const ::tenure::internal::v1::LoadView& view);

  runtime::Executor& executor_;
  runtime::Network& network_;
  Leadership& leadership_;
  OwnCluster own_;
  const ControllerDirectory& directory_;
  const LoadTable& load_;
  const StandbyOptions options_;
  std::function<void()> on_sample_ = [] {};

  // Leading.
  Term epoch_;  // none while another leads
  runtime::Timer beat_;
  std::set<ReplicaId> sampled_;
  // Received.
  Term view_epoch_;
  Instant received_at_{};
  std::map<NodeId, Seen> view_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::controller
