// A DataService over a map, for tests and the benchmark: a few commands, answered at once or when the test
// says so.
#pragma once

#include <cstdlib>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "node/data_service.h"

namespace tenure::resp {

class FakeDataService : public node::DataService {
 public:
  using Outcome = node::Outcome;

  // True: commands wait for Release.
  bool hold = false;
  struct Held {
    std::string what;  // "get k", "EXEC set k v; get k", "VERSION k", "SCAN 0"
    node::ReadMode mode = node::ReadMode::kLinearizable;
    DatabaseId database;
    Closure run;
  };
  std::deque<Held> held;
  // Instead of the next answer.
  std::optional<Outcome> next_outcome;
  std::optional<std::string> down;
  std::map<std::string, DatabaseId> databases = {{"default", DatabaseId(1)}, {"other", DatabaseId(2)}};
  node::ClusterView view;
  bool has_view = true;
  int64_t now_ms = 1'700'000'000'123;
  uint64_t executed = 0;

  // Runs the oldest (or the given) held command. False if there is none.
  bool Release(size_t position = 0) {
    if (position >= held.size()) return false;
    Held taken = std::move(held[position]);
    held.erase(held.begin() + static_cast<std::ptrdiff_t>(position));
    taken.run();
    return true;
  }
  void ReleaseAll() {
    while (Release()) {
    }
  }

  // The lease.
  bool fenced = false;
  uint64_t recovery = 0;
  Instant serves_until = kFarFuture;
  uint64_t entered = 0;
  uint64_t left = 0;       // whose result went to the client
  uint64_t held_back = 0;  // whose did not
  std::optional<node::ViewTicket> Enter() override {
    if (fenced) return std::nullopt;
    ++entered;
    return node::ViewTicket{1, recovery};
  }
  std::string FencedText() const override { return "lease expired: fenced for 5 ms"; }
  bool MayLeave(node::ViewTicket ticket, Instant now) const override {
    return !fenced && ticket.recovery == recovery && now < serves_until;
  }
  void Leave(node::ViewTicket, bool went) override { ++(went ? left : held_back); }
  Instant ServesUntil() const override { return serves_until; }

  void Execute(DatabaseId database, uint16_t /*slot*/, store::Arguments arguments, node::ReadMode mode,
               Callback<Outcome> done) override {
    if (!hold && held.empty()) return done(TakeOutcome(arguments));  // in the order of the calls, always
    std::string what = Join(arguments);
    held.push_back({std::move(what), mode, database,
                    [this, arguments = std::move(arguments), done = std::move(done)]() mutable {
                      done(TakeOutcome(arguments));
                    }});
  }

  void ExecuteTransaction(DatabaseId database, uint16_t /*slot*/, std::vector<store::Arguments> commands,
                          std::vector<store::WatchedKey> watches, Callback<Outcome> done) override {
    std::string what = "EXEC";
    for (const store::Arguments& command : commands) what += " [" + Join(command) + "]";
    auto run = [this, commands = std::move(commands), watches = std::move(watches),
                done = std::move(done)]() mutable { done(RunTransaction(commands, watches)); };
    if (!hold) return run();
    held.push_back({std::move(what), node::ReadMode::kLinearizable, database, std::move(run)});
  }

  void VersionOf(DatabaseId database, uint16_t /*slot*/, std::string key, Callback<Outcome> done) override {
    std::string what = "VERSION " + key;
    auto run = [this, key = std::move(key), done = std::move(done)]() mutable {
      if (next_outcome) return done(*std::exchange(next_outcome, std::nullopt));
      done(store::Reply::Integer(static_cast<int64_t>(Version(key))));
    };
    if (!hold) return run();
    held.push_back({std::move(what), node::ReadMode::kLinearizable, database, std::move(run)});
  }

  void Scan(DatabaseId database, uint64_t cursor, size_t count, std::optional<std::string> match,
            std::optional<std::string> type, Callback<Outcome> done) override {
    last_scan = std::to_string(cursor) + "/" + std::to_string(count) + "/" + match.value_or("-") + "/" +
                type.value_or("-");
    auto run = [this, done = std::move(done)]() mutable {
      std::vector<store::Reply> keys;
      for (const auto& [key, entry] : data) keys.push_back(store::Reply::Bulk(key));
      done(store::Reply::Array({store::Reply::Bulk("0"), store::Reply::Array(std::move(keys))}));
    };
    if (!hold) return run();
    held.push_back(
        {"SCAN " + std::to_string(cursor), node::ReadMode::kLinearizable, database, std::move(run)});
  }
  std::string last_scan;

  uint64_t KeyCount(DatabaseId) override { return data.size(); }
  Outcome CountKeysInSlot(DatabaseId, uint16_t slot) override {
    int64_t count = 0;
    for (const auto& [key, entry] : data) count += SlotOfKey(key) == slot ? 1 : 0;
    return store::Reply::Integer(count);
  }
  Outcome KeysInSlot(DatabaseId, uint16_t slot, size_t limit) override {
    std::vector<store::Reply> keys;
    for (const auto& [key, entry] : data) {
      if (SlotOfKey(key) == slot && keys.size() < limit) keys.push_back(store::Reply::Bulk(key));
    }
    return store::Reply::Array(std::move(keys));
  }
  std::optional<DatabaseId> FindDatabase(const std::string& name) override {
    const auto found = databases.find(name == "0" ? "default" : name);
    return found == databases.end() ? std::nullopt : std::optional(found->second);
  }
  bool HasDatabase(DatabaseId database) override {
    for (const auto& [name, id] : databases) {
      if (id == database) return true;
    }
    return false;
  }
  std::optional<node::Moved> MovedElsewhere(DatabaseId, uint16_t slot, const store::Arguments&) override {
    for (const node::ShardView& shard : view.shards) {
      if (!shard.slots.Contains(slot)) continue;
      for (const node::ShardView::Replica& replica : shard.replicas) {
        if (!replica.leader || replica.node == view.self) continue;
        return node::Moved{slot, view.nodes[replica.node.value() - 1].resp_address};
      }
    }
    return std::nullopt;
  }
  const node::ClusterView* View(DatabaseId database) override {
    return has_view && HasDatabase(database) ? &view : nullptr;
  }
  std::optional<std::string> DownReason(DatabaseId) override { return down; }
  void TakeLeaderships(DatabaseId, Callback<Outcome> done) override {
    ++takeovers;
    done(store::Reply::Ok());
  }
  int takeovers = 0;
  WallTime Now() const override { return WallFromMillis(now_ms); }
  std::vector<std::pair<std::string, std::string>> InfoLines() override { return {{"tenure_fake", "1"}}; }

  struct Entry {
    std::string value;
    uint64_t version = 0;
  };
  std::unordered_map<std::string, Entry> data;
  void Put(const std::string& key, std::string value) { data[key] = {std::move(value), ++clock_}; }

 private:
  static std::string Join(const store::Arguments& arguments) {
    std::string joined;
    for (const std::string& argument : arguments)
      joined += (joined.empty() ? "" : " ") + argument.substr(0, 32);
    return joined;
  }
  uint64_t Version(const std::string& key) const {
    const auto found = data.find(key);
    return found == data.end() ? 0 : found->second.version;
  }
  Outcome TakeOutcome(store::Arguments& arguments) {
    if (next_outcome) return *std::exchange(next_outcome, std::nullopt);
    return Run(arguments);
  }
  Outcome RunTransaction(std::vector<store::Arguments>& commands,
                         const std::vector<store::WatchedKey>& watches) {
    if (next_outcome) return *std::exchange(next_outcome, std::nullopt);
    for (const store::WatchedKey& watch : watches) {
      if (Version(watch.key) != watch.version) return store::Reply::Null();
    }
    std::vector<store::Reply> replies;
    for (store::Arguments& command : commands) replies.push_back(Run(command));
    return store::Reply::Array(std::move(replies));
  }
  store::Reply Run(store::Arguments& a) {
    ++executed;
    const store::CommandSpec* spec = store::FindCommand(a[0]);
    const std::string_view name = spec->name;
    if (name == "get") return Get(a[1]);
    if (name == "set" || name == "setrange") {
      Put(a[1], std::move(a.back()));
      return store::Reply::Ok();
    }
    if (name == "mset") {
      for (size_t i = 1; i + 1 < a.size(); i += 2) Put(a[i], std::move(a[i + 1]));
      return store::Reply::Ok();
    }
    if (name == "mget") {
      std::vector<store::Reply> values;
      for (size_t i = 1; i < a.size(); ++i) values.push_back(Get(a[i]));
      return store::Reply::Array(std::move(values));
    }
    if (name == "del") {
      int64_t count = 0;
      for (size_t i = 1; i < a.size(); ++i) count += static_cast<int64_t>(data.erase(a[i]));
      return store::Reply::Integer(count);
    }
    if (name == "incr") {
      const auto found = data.find(a[1]);
      const int64_t value =
          (found == data.end() ? 0 : std::strtoll(found->second.value.c_str(), nullptr, 10)) + 1;
      Put(a[1], std::to_string(value));
      return store::Reply::Integer(value);
    }
    if (name == "hgetall") return store::Reply::Map({store::Reply::Bulk("f"), store::Reply::Bulk("v")});
    return store::Reply::Error("ERR the fake does not know " + std::string(name));
  }
  store::Reply Get(const std::string& key) const {
    const auto found = data.find(key);
    return found == data.end() ? store::Reply::Null() : store::Reply::Bulk(found->second.value);
  }
  uint64_t clock_ = 0;
};

// Three nodes, three regions; node n leads region n and follows in the others. `self` is node 1.
inline node::ClusterView ThreeNodeView() {
  node::ClusterView view;
  view.database = DatabaseId(1);
  view.revision = 7;
  view.self = NodeId(1);
  for (uint64_t n = 1; n <= 3; ++n) {
    const std::string digit = std::to_string(n);
    view.nodes.push_back({NodeId(n), "n" + digit, std::string(40, digit[0]), "10.0.0." + digit + ":7100",
                          "10.0.0." + digit + ":7101", true});
  }
  const store::SlotRange ranges[] = {{0, 5460}, {5461, 10922}, {10923, 16383}};
  for (uint64_t n = 1; n <= 3; ++n) {
    node::ShardView shard{RegionId(n), ranges[n - 1], {{NodeId(n), true, true}}};
    for (uint64_t other = 1; other <= 3; ++other) {
      if (other != n) shard.replicas.push_back({NodeId(other), false, true});
    }
    view.shards.push_back(shard);
  }
  return view;
}

// One node that leads everything.
inline node::ClusterView OneNodeView(std::string resp_address) {
  node::ClusterView view;
  view.database = DatabaseId(1);
  view.revision = 1;
  view.self = NodeId(1);
  view.nodes.push_back(
      {NodeId(1), "n1", std::string(40, 'a'), "127.0.0.1:7100", std::move(resp_address), true});
  view.shards.push_back({RegionId(1), {0, 16383}, {{NodeId(1), true, true}}});
  return view;
}

}  // namespace tenure::resp
