// tenure.v1.Changefeeds: checks what is asked for, writes it to the catalog, and answers; what follows from
// it is ChangefeedCoordinator's.
//
// Threading:  the controller's executor.
// Lifetime:   StopAndJoin is called and finished before destruction, unless the executor has stopped for
//             good.
// Errors:     refusals name field, object and limit, and nothing has happened.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "controller/api/call.h"
#include "controller/catalog_access.h"
#include "controller/changefeeds/change_history.h"
#include "controller/changefeeds/changefeed_coordinator.h"
#include "controller/leadership/leadership.h"
#include "runtime/network.h"
#include "tenure/v1/changefeeds.pb.h"

namespace tenure::controller {

class ChangefeedsService : public runtime::Service {
 public:
  static constexpr std::string_view kName = "tenure.v1.Changefeeds";

  ChangefeedsService(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
                     ChangefeedCoordinator& coordinator, ChangeHistory& history);
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  void StopAndJoin(Closure done) { scope_.StopAndJoin(std::move(done)); }

 private:
  using Response = ::tenure::v1::ChangefeedResponse;
  using Done = Answer<Response>;

  // `run(request, done)` on a catalog that is known to be the present one.
  template <class Request, class Response, class Run>
  void Add(std::string_view method, Run run);
  runtime::Task<void> Create(::tenure::v1::CreateChangefeedRequest request, Done done);
  runtime::Task<void> Update(::tenure::v1::UpdateChangefeedRequest request, Done done);
  runtime::Task<void> Show(::tenure::v1::ShowChangefeedRequest request, Done done);
  void Change(const ::tenure::v1::ChangefeedRequest& request, ::tenure::internal::v1::ChangeChangefeed change,
              Done done);
  void Move(const ::tenure::v1::MoveChangefeedRequest& request, Done done);
  ::tenure::v1::ListChangefeedsResponse List(const ::tenure::v1::ListChangefeedsRequest& request) const;

  StatusOr<const ::tenure::v1::ChangefeedRecord*> Find(const std::string& name) const;
  // Whether the sink takes anything, asked of a node: changes will come from there.
  runtime::Task<Status> CheckSink(std::string sink, std::string database);
  // Whether the changes since `start` are kept. What cannot be asked now is left to the changefeed's driver.
  runtime::Task<Status> CheckStart(uint64_t database, changefeed::CommitTs start);
  // Of a request that was answered before; none: it was not.
  std::optional<StatusOr<Response>> AnswerAgain(const ::tenure::v1::RequestId& id) const;
  void Propose(::tenure::internal::v1::CatalogCommand command, Done done);
  ::tenure::v1::Changefeed Describe(const ::tenure::v1::ChangefeedRecord& record) const;

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const Leadership& leadership_;
  ChangefeedCoordinator& coordinator_;
  ChangeHistory& history_;
  CallTable calls_;
  runtime::TaskScope scope_;
};

// The address with the protocol in it. INVALID_ARGUMENT: both are given and differ, or what is given is no
// sink.
StatusOr<std::string> SinkWithProtocol(const std::string& sink, const std::string& protocol);

}  // namespace tenure::controller
