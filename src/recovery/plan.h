// Whether a cluster that lost the majority of its controllers for good can go on with what the survivors
// hold, and how: a survey of stopped data directories, and the plan made from it.
//
// The most up-to-date log (last term, then last index) goes on: it holds every entry that any survivor knows
// to be committed, by the argument of the Raft paper's leader completeness. Its controller becomes the only
// voter; the other survivors come along as learners: their votes are not forgotten, they can be promoted
// again.
//
// Threading: SurveyDirectory blocks on the disk and changes nothing; MakePlan is a pure function.
// Errors:    FAILED_PRECONDITION: a plan would be unsafe or make no sense; the message names directories, ids
//            and what to do instead. DATA_LOSS: an identity or a log that cannot be read.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "raft/types.h"
#include "wal/data_directory.h"

namespace tenure::recovery {

struct GroupSurvey {
  Term term;  // of the hard state
  ReplicaId vote;
  LogIndex commit;  // a lower bound
  LogIndex first_index;
  LogIndex last_index;
  Term last_term;
  raft::Configuration configuration;  // in force
};

struct DirectorySurvey {
  std::string path;
  wal::Identity identity;                 // resolved: nothing pending
  std::map<GroupId, GroupSurvey> groups;  // without those that were destroyed
  std::vector<std::string> damage;        // of the log, with file and offset; empty if it is whole
  const GroupSurvey* catalog() const {
    const auto it = groups.find(kCatalogGroup);
    return it == groups.end() ? nullptr : &it->second;
  }
};

// Of a directory that is locked by the caller.
StatusOr<DirectorySurvey> SurveyDirectory(runtime::Disk& disk, const wal::DataDirectory& directory);

struct Plan {
  std::string cluster_id;
  uint64_t from_incarnation = 0;
  uint64_t to_incarnation = 0;
  size_t picked = 0;  // place in the survey
  ControllerId controller;
  Term last_term;  // of the picked log
  LogIndex last_index;
  Term new_term;  // of the entries that execution appends: higher than any that a survivor has seen
  raft::Configuration before;
  raft::Configuration after;
  std::vector<uint64_t> lost;  // voters before that are not in the survey
  // 16 hexadecimal digits over everything the plan rests on: the same directories in the same state, in
  // whatever order, have the same.
  std::string digest;
};

// `forced`: the controllers whose present majority is overruled; must name exactly those of the survey's that
// are voters. Empty: a majority that is there is refused.
StatusOr<Plan> MakePlan(const std::vector<DirectorySurvey>& survey, const std::set<uint64_t>& forced);

}  // namespace tenure::recovery
