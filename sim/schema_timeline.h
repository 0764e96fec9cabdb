// Since when and until when the names of tables, views and columns could be used, as the operator of schemas
// knows it from outside: from the request for a change to the answer that it is made. What clients did to
// rows is judged by it.
//
// Threading: the simulation's thread. Times are world time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"

namespace tenure::sim {

// What is called how, by the number of the operator's lane.
inline constexpr char kTablesDatabase[] = "tables";
std::string TableNameOf(size_t lane, bool renamed);
std::string ViewNameOf(size_t lane);
std::string ColumnNameOf(uint32_t number);
// Of a column in the timeline; names of tables and views stand for themselves.
std::string ColumnKeyOf(size_t lane, const std::string& column);

class SchemaTimeline {
 public:
  struct Lifetime {
    Instant begun;                   // somebody asked for it
    std::optional<Instant> settled;  // it was made: every node knows it
    std::optional<Instant> doomed;   // somebody asked for its end
    std::optional<Instant> ended;    // that was made: nobody uses it any more
  };
  // Of a table: all of its rows are gone.
  struct Drop {
    size_t lane = 0;
    Instant asked;
    Instant made;
  };

  void Begin(const std::string& name, Instant now) { lives_[name].push_back({.begun = now}); }
  void Settle(const std::string& name, Instant now) { lives_[name].back().settled = now; }
  void Doom(const std::string& name, Instant now) { lives_[name].back().doomed = now; }
  // Its end was not made.
  void Spare(const std::string& name) { lives_[name].back().doomed.reset(); }
  // Ends all lifetimes that are open, those of changes that were rolled back included: nobody may have
  // noticed.
  void End(const std::string& name, Instant now);
  // The highest number that a column of the lane's table ever had; 0: none had one.
  void SetNewestColumn(size_t lane, uint32_t number) { newest_[lane] = number; }
  uint32_t NewestColumn(size_t lane) const {
    const auto found = newest_.find(lane);
    return found == newest_.end() ? 0 : found->second;
  }
  void AddDrop(Drop drop) { drops_.push_back(drop); }
  const std::vector<Drop>& drops() const { return drops_; }

  // Whoever used it from `called` to `returned`: the last moment at which that may have taken effect. None:
  // there was no such name in all that time.
  std::optional<Instant> LatestUse(const std::string& name, Instant called, Instant returned) const;
  // Since when the thing has been there, at the earliest, that somebody saw under that name then.
  std::optional<Instant> EarliestBirth(const std::string& name, Instant called, Instant returned) const;
  // It was the same, and known everywhere, all that time.
  bool Stable(const std::string& name, Instant from, Instant to) const;

 private:
  std::map<std::string, std::vector<Lifetime>> lives_;
  std::map<size_t, uint32_t> newest_;
  std::vector<Drop> drops_;
};

}  // namespace tenure::sim
