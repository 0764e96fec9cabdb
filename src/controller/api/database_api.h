// Creating and dropping databases on behalf of clients: chooses the placement, proposes, and keeps the answer
// of a creation until the database is public.
//
// Threading: the controller's executor.
// Errors:    a creation whose deadline passes is answered OK with the record as it stands (CREATING): it goes
//            on by itself. When leadership ends while a request waits, it is told NOT_LEADER: asked again
//            with the same request id, the next leader knows that the change was done and waits on.
#pragma once

#include <list>
#include <memory>
#include <optional>

#include "controller/api/call.h"
#include "controller/catalog_access.h"
#include "controller/catalog_machine.h"
#include "controller/leadership/leader_service.h"
#include "controller/nodes/agent_service.h"
#include "runtime/executor.h"

namespace tenure::controller {

struct DatabaseApiOptions {
  uint32_t default_regions = 8;
  uint32_t default_replicas = 3;
  size_t max_waiting = 1000;
  Duration max_wait = std::chrono::minutes(2);              // for requests without a deadline
  Duration answer_margin = std::chrono::milliseconds(100);  // before the caller's deadline
};

class DatabaseApi : public CatalogListener, public LeaderService {
 public:
  DatabaseApi(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
              const AgentService& agents, DatabaseApiOptions options);
  ~DatabaseApi() override;

  void Create(Instant deadline, ::tenure::v1::CreateDatabaseRequest request,
              Answer<::tenure::v1::ChangeResponse> done);
  void Drop(::tenure::v1::DropDatabaseRequest request, Answer<::tenure::v1::ChangeResponse> done);
  void Get(const ::tenure::v1::GetDatabaseRequest& request, Answer<::tenure::v1::GetDatabaseResponse> done);

  // CatalogListener
  void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision applied) override;
  void OnCatalogReset(Revision) override {}
  // LeaderService
  std::string_view name() const override { return "database api"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  // A creation that was committed and waits for the database to become public.
  struct Waiting {
    uint64_t database;
    ::tenure::v1::ChangeResponse response;
    Answer<::tenure::v1::ChangeResponse> done;
    runtime::Timer timer;
  };
  using Waitings = std::list<Waiting>;

  void OnCreated(Instant deadline, const ::tenure::internal::v1::CatalogResult& result,
                 Answer<::tenure::v1::ChangeResponse> done);
  void AnswerCreation(uint64_t database, ::tenure::v1::ChangeResponse response,
                      Answer<::tenure::v1::ChangeResponse> done) const;
  // Refusals by what this leader has applied, once it is confirmed that nobody else leads; goes on if it has
  // changed by then.
  void RefuseExisting(Instant deadline, ::tenure::v1::CreateDatabaseRequest request,
                      Answer<::tenure::v1::ChangeResponse> done);
  void RefuseAbsent(::tenure::v1::DropDatabaseRequest request, Answer<::tenure::v1::ChangeResponse> done);
  bool IsSettled(uint64_t database) const;
  void Finish(Waitings::iterator waiting);
  void FinishSettled();

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const Leadership& leadership_;
  const AgentService& agents_;
  const DatabaseApiOptions options_;
  Waitings waiting_;
  bool check_posted_ = false;
  std::shared_ptr<DatabaseApi*> self_;  // null inside once this is gone
};

}  // namespace tenure::controller
