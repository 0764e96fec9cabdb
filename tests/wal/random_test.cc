// The log against a model, under crashes at every kind of moment. The model keeps what each append changes;
// after a crash the log must hold the state after some append that is not before the last acknowledged one,
// whole.
#include <cstdlib>

#include "base/prng.h"
#include "tests/wal/log_fixture.h"

namespace tenure::wal {
namespace {

struct ModelGroup {
  LogIndex mark;                     // of the last reset
  std::vector<raft::Entry> entries;  // from mark + 1 on, compacted ones too
  raft::HardState hard_state;
  bool tombstone = false;  // nothing is here
  ReplicaId gone;          // the highest that is gone; none with a tombstone: for ever
  ReplicaId replica;       // of a group that came back
  LogIndex last() const { return mark.Plus(entries.size()); }
};
using Model = std::map<GroupId, ModelGroup>;

bool HasEffect(const Write& write) {
  return write.reset_to || write.truncate_from || !write.entries.empty() || write.hard_state ||
         write.tombstone;
}

ModelGroup Get(const Model& model, GroupId id) {
  const auto it = model.find(id);
  return it == model.end() ? ModelGroup{} : it->second;
}

void ApplyTo(Model& model, const std::vector<Write>& writes) {
  for (const Write& write : writes) {
    if (!HasEffect(write)) continue;
    ModelGroup& group = model[write.group];
    if (!write.replica.IsNone()) {
      group.replica = write.replica;
      group.tombstone = false;
    }
    if (write.reset_to) {
      group.mark = write.reset_to->index;
      group.entries.clear();
    }
    if (write.truncate_from && *write.truncate_from <= group.last()) {
      group.entries.resize(write.truncate_from->value() - group.mark.value() - 1);
    }
    for (const auto& entry : write.entries) group.entries.push_back(entry);
    if (write.hard_state) group.hard_state = *write.hard_state;
    if (write.tombstone) group = ModelGroup{.tombstone = true, .gone = write.gone};
  }
}

class RandomRun {
 public:
  explicit RandomRun(uint64_t seed) : prng_(seed), log_(seed) {
    log_.options.segment_bytes = (16 + prng_.Below(3) * 16) << 10;
    log_.options.max_log_bytes = 64 << 10;
    log_.options.max_commit_bytes = prng_.Chance(1, 2) ? 4 << 20 : 4096;
    if (prng_.Chance(1, 2)) log_.sync_delay = std::chrono::microseconds(200);
  }

  void Run() {
    const uint64_t lives = 2 + prng_.Below(5);
    for (uint64_t life = 0; life < lives && !::testing::Test::HasFailure(); ++life) {
      OpenAndCompare();
      Live();
    }
    if (!::testing::Test::HasFailure()) OpenAndCompare();
  }

  size_t crashes = 0;
  size_t appends = 0;
  size_t torn = 0;
  size_t copies = 0;
  size_t returns = 0;

 private:
  void OpenAndCompare() {
    while (true) {
      if (prng_.Chance(1, 4)) log_.storage.operations_left = prng_.Below(12);
      const Status opened = log_.Open();
      if (!log_.storage.dead) {
        log_.storage.operations_left.reset();
        ASSERT_TRUE(opened.ok()) << opened;
        break;
      }
      Crash();
    }
    torn += log_.sink.lines.size();
    copies = log_.sink.copies;
    log_.sink.lines.clear();
    Compare();
  }

  void Compare() {
    Model candidate = acknowledged_;
    std::string all;
    for (size_t i = 0;; ++i) {
      const std::string why = Difference(candidate);
      if (why.empty()) break;
      all += why + "; ";
      ASSERT_LT(i, pending_.size()) << "no state from the last acknowledged one on fits: " << all;
      ApplyTo(candidate, pending_[i]);
    }
    acknowledged_ = model_ = candidate;
    acknowledged_id_ = submitted_;
    pending_.clear();
    ReadAll();
  }

  std::string Difference(const Model& model) {
    const auto& recovered = log_.wal->recovered();
    if (recovered.size() != model.size())
      return fmt::format("{} groups, not {}", recovered.size(), model.size());
    for (const auto& [id, group] : model) {
      const auto it = recovered.find(id);
      if (it == recovered.end()) return fmt::format("group {} is missing", id.value());
      if (it->second.tombstone != group.tombstone || it->second.gone != group.gone)
        return fmt::format("group {} tombstone", id.value());
      if (it->second.replica != group.replica) return fmt::format("group {} replica", id.value());
      if (group.tombstone) continue;
      const raft::PersistedState& state = it->second.state;
      if (state.hard_state != group.hard_state) return fmt::format("group {} hard state", id.value());
      if (state.last_index != group.last()) {
        return fmt::format("group {} last {} not {}", id.value(), state.last_index.value(),
                           group.last().value());
      }
      if (state.mark.index < group.mark ||
          state.mark.index > std::max(compacted_[{id, group.replica}], group.mark)) {
        return fmt::format("group {} mark {}", id.value(), state.mark.index.value());
      }
      std::vector<raft::TermRun> runs;
      std::vector<std::pair<LogIndex, raft::Configuration>> configurations;
      for (const auto& entry : group.entries) {
        if (entry.index <= state.mark.index) continue;
        if (runs.empty() || runs.back().term != entry.term) runs.push_back({entry.index, entry.term});
        if (entry.type == raft::EntryType::kConfiguration) {
          configurations.emplace_back(entry.index, *raft::DecodeConfiguration(entry.payload.view()));
        }
      }
      if (runs != state.terms) return fmt::format("group {} terms", id.value());
      if (configurations != state.configurations) return fmt::format("group {} configurations", id.value());
    }
    return "";
  }

  void ReadAll() {
    for (const auto& [id, group] : acknowledged_) {
      if (group.tombstone) continue;
      const auto& state = log_.wal->recovered().at(id).state;
      const auto skip = static_cast<ptrdiff_t>(state.mark.index.value() - group.mark.value());
      const std::vector<raft::Entry> expected(group.entries.begin() + skip, group.entries.end());
      if (expected.empty()) continue;
      const auto entries = log_.Read(id.value(), state.mark.index.value() + 1, state.last_index.value());
      ASSERT_TRUE(entries.ok()) << entries.status();
      ASSERT_EQ(*entries, expected);
    }
  }

  void Live() {
    if (prng_.Chance(3, 4)) log_.storage.operations_left = prng_.Below(400);
    const uint64_t steps = prng_.Below(150);
    for (uint64_t i = 0; i < steps && !log_.storage.dead; ++i) {
      switch (prng_.Below(12)) {
        case 0:
          log_.executor->Advance(std::chrono::microseconds(prng_.Below(400)));
          break;
        case 1:
          log_.executor->Advance(std::chrono::milliseconds(prng_.Below(300)));
          break;
        case 2:
          log_.executor->Drain();
          break;
        case 3:
          CompactSome();
          break;
        case 4:
          ReadSome();
          break;
        default:
          AppendSome();
          break;
      }
    }
    if (!log_.storage.dead && prng_.Chance(1, 4)) {
      (void)log_.CloseAndKill();
      if (prng_.Chance(1, 2)) return;
    }
    Crash();
  }

  void Crash() {
    ++crashes;
    log_.Kill();
    // Whatever was under way may have arrived; nothing more will be acknowledged.
    log_.storage.Crash(prng_.Chance(2, 3));
  }

  void AppendSome() {
    std::vector<Write> writes;
    Model after = model_;
    for (uint64_t n = 1 + prng_.Below(3); n > 0; --n) {
      Write write = MakeWrite(after);
      const ModelGroup group = Get(after, write.group);
      if (group.tombstone && write.replica <= group.gone) continue;
      std::vector<Write> one{write};
      ApplyTo(after, one);
      writes.push_back(std::move(write));
    }
    if (writes.empty()) return;
    model_ = std::move(after);
    pending_.push_back(writes);
    const uint64_t id = ++submitted_;
    ++appends;
    log_.wal->Append(std::move(writes), [this, id](Status status) {
      if (!status.ok()) return;
      EXPECT_EQ(id, acknowledged_id_ + 1) << "answers come in order";
      acknowledged_id_ = id;
      ApplyTo(acknowledged_, pending_.front());
      pending_.erase(pending_.begin());
    });
  }

  Write MakeWrite(const Model& model) {
    Write write;
    write.group = GroupId(prng_.Below(6));
    ModelGroup group = Get(model, write.group);
    // One that is gone for ever does not come back; any other may, as a replica that was never here.
    if (group.tombstone && (group.gone.IsNone() || prng_.Chance(1, 2))) return write;
    LogIndex last = group.last();
    if (group.tombstone) {
      ++returns;
      write.replica = group.gone.Plus(1 + prng_.Below(3));
      last = LogIndex(prng_.Below(2) * prng_.Below(200));
      write.reset_to = raft::SnapshotMark{last, Term(last.IsNone() ? 0 : term_), OneVoter()};
      group = ModelGroup{.mark = last, .gone = group.gone, .replica = write.replica};
    } else if (prng_.Chance(1, 40)) {
      last = last.Plus(prng_.Below(20));
      write.reset_to = raft::SnapshotMark{last, Term(term_), OneVoter(1 + prng_.Below(9))};
    } else if (const LogIndex floor = std::max(group.mark, compacted_[{write.group, group.replica}]);
               last > floor && prng_.Chance(1, 10)) {
      write.truncate_from = floor.Plus(1 + prng_.Below(last.value() - floor.value()));
      last = write.truncate_from->Previous();
      ++term_;
    }
    if (prng_.Chance(4, 5)) {
      for (uint64_t n = prng_.Below(5); n > 0; --n) {
        last = last.Next();
        if (prng_.Chance(1, 30)) ++term_;
        if (prng_.Chance(1, 20)) {
          write.entries.push_back(MakeEntry(last.value(), term_,
                                            raft::EncodeConfiguration(OneVoter(prng_.Below(9) + 1)),
                                            raft::EntryType::kConfiguration));
        } else {
          const uint64_t size = prng_.Chance(1, 30) ? prng_.Below(30000) : prng_.Below(400);
          const char fill = prng_.Chance(1, 4) ? '\0' : static_cast<char>(prng_.Next32());
          write.entries.push_back(MakeEntry(last.value(), term_, std::string(size, fill)));
        }
      }
    }
    if (prng_.Chance(1, 5)) write.hard_state = MakeHardState(term_, prng_.Below(4), prng_.Below(100));
    if (prng_.Chance(1, 300)) write.tombstone = true;
    if (!write.tombstone && prng_.Chance(1, 40)) {
      write.tombstone = true;
      write.gone = std::max(group.gone, group.replica).Plus(prng_.Below(2));
      if (write.gone.IsNone()) write.gone = ReplicaId(1);
    }
    return write;
  }

  void CompactSome() {
    // Never beyond what every state from the acknowledged one on has.
    const GroupId id(prng_.Below(6));
    const auto it = acknowledged_.find(id);
    if (it == acknowledged_.end() || it->second.tombstone) return;
    const auto same_log = [&](const ModelGroup& group) {
      return group.mark == it->second.mark && group.replica == it->second.replica && !group.tombstone;
    };
    if (!same_log(Get(model_, id))) return;
    LogIndex& compacted = compacted_[{id, it->second.replica}];
    const LogIndex floor = std::max(it->second.mark, compacted);
    LogIndex limit = std::min(it->second.last(), Get(model_, id).last());
    Model step = acknowledged_;
    for (const auto& writes : pending_) {
      ApplyTo(step, writes);
      if (!same_log(Get(step, id))) return;
      limit = std::min(limit, Get(step, id).last());
    }
    if (limit <= floor) return;
    const LogIndex to = floor.Plus(1 + prng_.Below(limit.value() - floor.value()));
    const raft::Entry& at = it->second.entries[to.value() - it->second.mark.value() - 1];
    compacted = to;
    log_.wal->Compact(id, {to, at.term, OneVoter()});
  }

  void ReadSome() {
    const GroupId id(prng_.Below(6));
    const ModelGroup group = Get(model_, id);
    if (group.tombstone || group.entries.empty()) return;
    const LogIndex from = group.mark.Plus(1 + prng_.Below(group.entries.size()));
    if (from <= compacted_[{id, group.replica}]) return;
    log_.wal->Read(id, from, group.last(), prng_.Below(5000),
                   [this, group, from, submitted = submitted_](auto entries) {
                     // A read may see what was appended after it.
                     if (log_.storage.dead || submitted != submitted_) return;
                     ASSERT_TRUE(entries.ok()) << entries.status();
                     ASSERT_FALSE(entries->empty());
                     for (size_t i = 0; i < entries->size(); ++i) {
                       ASSERT_EQ((*entries)[i], group.entries[from.value() - group.mark.value() - 1 + i]);
                     }
                   });
  }

  Prng prng_;
  TestLog log_;
  Model acknowledged_;
  Model model_;                              // with everything submitted
  std::vector<std::vector<Write>> pending_;  // not acknowledged
  std::map<std::pair<GroupId, ReplicaId>, LogIndex> compacted_;
  uint64_t submitted_ = 0;
  uint64_t acknowledged_id_ = 0;
  uint64_t term_ = 1;
};

TEST(WalRandomTest, AcknowledgedIsNeverLost) {
  const char* cases = std::getenv("TENURE_WAL_CASES");
  const char* only = std::getenv("TENURE_WAL_SEED");
  const uint64_t count = cases == nullptr ? 300 : std::strtoull(cases, nullptr, 10);
  const uint64_t first = only == nullptr ? 1 : std::strtoull(only, nullptr, 10);
  size_t crashes = 0;
  size_t appends = 0;
  size_t torn = 0;
  size_t copies = 0;
  size_t returns = 0;
  for (uint64_t seed = first; seed < first + (only == nullptr ? count : 1); ++seed) {
    RandomRun run(seed);
    run.Run();
    crashes += run.crashes;
    appends += run.appends;
    torn += run.torn;
    copies += run.copies;
    returns += run.returns;
    ASSERT_FALSE(HasFailure()) << "seed " << seed << " (TENURE_WAL_SEED=" << seed << " replays it)";
  }
  RecordProperty("crashes", static_cast<int>(crashes));
  RecordProperty("appends", static_cast<int>(appends));
  RecordProperty("torn_tails", static_cast<int>(torn));
  printf("%zu crashes, %zu appends, %zu torn tails, %zu segments copied forward, %zu replicas came back\n",
         crashes, appends, torn, copies, returns);
}

}  // namespace
}  // namespace tenure::wal
