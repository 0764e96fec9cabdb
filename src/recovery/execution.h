// Carries a plan out on the directories that it was made from. In this order:
//
//   1. the picked directory's identity names the intent        (nothing has changed yet)
//   2. one append to its log: the new configuration, the command RecoverCluster, term and vote   <- the
//   decision
//   3. its identity: new incarnation, history
//   4. the other survivors' identities: new incarnation, history
//
// A crash before 2 leaves the old state, one after it the new (intent.h). A survivor that 4 has not reached
// is of the old incarnation and refused by the new one until the same execution is repeated: executing a
// digest that was decided already does what is left of it, and nothing if nothing is.
//
// Threading: one executor, which is the disk's; blocks on the disk between completions.
// Lifetime:  holds the directories' locks until destroyed; not before `done` has run.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/log.h"
#include "recovery/intent.h"
#include "recovery/plan.h"
#include "runtime/executor.h"
#include "wal/data_directory.h"
#include "wal/wal.h"

namespace tenure::recovery {

class Survivors {
 public:
  // Locks and reads. FAILED_PRECONDITION: a process runs on one of them. INVALID_ARGUMENT: none, or one
  // twice.
  static StatusOr<std::unique_ptr<Survivors>> Open(runtime::Disk& disk, runtime::Executor& executor,
                                                   const std::vector<std::string>& paths, Logger logger);
  ~Survivors();

  const std::vector<DirectorySurvey>& survey() const { return survey_; }

  struct Request {
    std::string digest;
    std::set<uint64_t> forced;  // as for MakePlan
    std::string by;
    wal::WalOptions log;
  };
  // What was done, or had been done before: the line of history. FAILED_PRECONDITION: the digest is not that
  // of the plan for these directories as they are now.
  void Execute(Request request, Callback<StatusOr<Intent>> done);

 private:
  Survivors(runtime::Disk& disk, runtime::Executor& executor, Logger logger)
      : disk_(disk), executor_(executor), logger_(std::move(logger)) {}
  StatusOr<const Intent*> FindDecided(const std::string& digest);
  Status Begin(const Plan& plan, const Request& request);
  void AppendDecision(const Plan& plan, Callback<Status> done);
  // Steps 3 and 4.
  Status Finish(const Intent& intent);

  runtime::Disk& disk_;
  runtime::Executor& executor_;
  Logger logger_;
  std::vector<std::unique_ptr<wal::DataDirectory>> directories_;
  std::vector<DirectorySurvey> survey_;
  std::unique_ptr<wal::Wal> log_;
  Intent intent_;
};

}  // namespace tenure::recovery
