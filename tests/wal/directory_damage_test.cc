// A whole data directory - identity, log, snapshots - is damaged one byte at a time and cut at every length,
// and a process is started on it each time: the directory's lock, the log, the snapshots and a host that runs
// its groups. Every start either has everything that was acknowledged, or refuses and names the file.
//
// A small dose by default; every byte of what is in use, every length, and a tenth of the zeros behind it
// with TENURE_DIRECTORY_CASES=all. The directory is small, so that this is some hundred thousand starts.
#include <gmock/gmock.h>

#include <cstdlib>

#include "group/group_host.h"
#include "kv/memory_engine.h"
#include "tests/runtime/manual_executor.h"
#include "tests/wal/fake_disk.h"
#include "wal/data_directory.h"
#include "wal/format.h"

namespace tenure::wal {
namespace {

using ::testing::HasSubstr;
using Pairs = std::map<std::string, std::string>;
using Files = std::map<std::string, std::string>;

// "key=value" is written; the answer is nothing.
class PutMachine final : public group::StateMachine {
 public:
  void Reset(const kv::Reader&, LogIndex) override {}
  std::string Apply(const group::ApplyContext&, std::string_view command, kv::View& state) override {
    const size_t equals = command.find('=');
    state.Put(command.substr(0, equals), command.substr(equals + 1));
    return {};
  }
};

class NoTransport final : public group::Transport {
 public:
  void SetReceiver(group::MessageReceiver*) override {}
  void SetSelf(uint64_t host) override { self_ = host; }
  uint64_t self() const override { return self_; }
  void SetClusterId(std::string) override {}
  void SetIncarnation(uint64_t) override {}
  void SetOnSuperseded(std::function<void(uint64_t)>) override {}
  void Send(uint64_t, GroupId, ReplicaId, ReplicaId, const raft::Message&) override {}
  void SendHeartbeat(uint64_t, const group::HostHeartbeat&) override {}
  group::TransportCounters counters() const override { return {}; }
  void Flush() override {}
  void Offer(uint64_t, const group::SnapshotOffer&, Callback<StatusOr<uint64_t>>) override {}
  void PutChunk(uint64_t, group::SnapshotChunk, Callback<StatusOr<uint64_t>>) override {}
  group::AddressBook& addresses() override { return addresses_; }

 private:
  uint64_t self_ = 0;
  group::AddressBook addresses_;
};

class NoObserver final : public group::GroupObserver {
 public:
  void OnRoleChange(GroupId, const raft::RoleChange&) override {}
  void OnServing(GroupId, Term) override {}
  void OnConfiguration(GroupId, const raft::Configuration&) override {}
};

const ReplicaId kSecond(2);
const raft::Configuration kAlone{{{ReplicaId(1), 7, raft::MemberRole::kVoter}}};

// What a running process knows.
struct Content {
  Identity identity;
  std::map<GroupId, raft::HardState> hard_states;
  std::map<GroupId, Pairs> states;
  std::set<GroupId> tombstones;
  std::map<GroupId, ReplicaId> gone;
  friend bool operator==(const Content&, const Content&) = default;
};

// One run of a process on the files in `storage` and the engine's content in `store`.
class Process {
 public:
  Process(FakeStorage& storage, std::shared_ptr<kv::MemoryStore> store)
      : disk_(storage, executor_), engine_(std::move(store), executor_) {}
  ~Process() {
    host_.reset();
    wal_.reset();
    executor_.Stop();
  }

  Status Open(const Identity* create) {
    if (create != nullptr) {
      TENURE_ASSIGN_OR_RETURN(directory_, DataDirectory::Create(disk_, "d", *create));
    } else {
      TENURE_ASSIGN_OR_RETURN(directory_, DataDirectory::Open(disk_, "d"));
      TENURE_RETURN_IF_ERROR(directory_->CheckLog());
    }
    WalOptions options;
    options.segment_bytes = kMinSegmentBytes;
    TENURE_ASSIGN_OR_RETURN(wal_, Wal::Open(disk_, executor_, directory_->log_path(), options, Logger(),
                                            [this](Status status) { failure_ = status; }));
    TENURE_ASSIGN_OR_RETURN(snapshots_, SnapshotStore::Open(disk_, directory_->snapshots_path()));
    group::GroupHostOptions group_options;
    group_options.raft.election_timeout_min = std::chrono::milliseconds(20);
    group_options.raft.heartbeat_interval = std::chrono::milliseconds(5);
    host_ = std::make_unique<group::GroupHost>(
        group::GroupHost::Dependencies{.executor = executor_,
                                       .background = executor_,
                                       .wal = *wal_,
                                       .engine = engine_,
                                       .snapshots = *snapshots_,
                                       .transport = transport_,
                                       .observer = observer_,
                                       .prng = Prng(1),
                                       .logger = {},
                                       .on_failure = [this](Status status) { failure_ = status; }},
        group_options);
    return OkStatus();
  }

  // Starts the groups; each elects itself and applies what its log holds.
  Status Run(const std::set<GroupId>& groups) {
    for (const GroupId id : groups) {
      const auto known = wal_->recovered().find(id);
      if (known != wal_->recovered().end() && known->second.tombstone) continue;
      const ReplicaId self =
          known == wal_->recovered().end() || known->second.replica.IsNone() ? ReplicaId(1) : kSecond;
      TENURE_RETURN_IF_ERROR(host_->Start(id, self, kAlone, std::make_unique<PutMachine>(), true));
    }
    executor_.Advance(std::chrono::milliseconds(120));
    return failure_;
  }

  void Put(GroupId group, const std::string& command) {
    bool applied = false;
    host_->Propose(group, command, [&](const group::ProposeOutcome& outcome) {
      applied = outcome.kind == group::ProposeOutcome::Kind::kApplied;
    });
    executor_.Advance(std::chrono::milliseconds(20));
    ASSERT_TRUE(applied) << command;
  }
  void Destroy(GroupId group, ReplicaId replica = {}) {
    host_->Destroy(group, replica, [](Status) {});
    executor_.Advance(std::chrono::milliseconds(20));
  }
  Status StartSecond(GroupId group) {
    const raft::Configuration alone{{{kSecond, 7, raft::MemberRole::kVoter}}};
    const Status started = host_->Start(group, kSecond, alone, std::make_unique<PutMachine>(), true);
    executor_.Advance(std::chrono::milliseconds(120));
    return started;
  }
  Wal& wal() { return *wal_; }
  SnapshotStore& snapshots() { return *snapshots_; }
  runtime::ManualExecutor& executor() { return executor_; }

  Content Look(const std::set<GroupId>& groups) const {
    Content content;
    content.identity = directory_->identity();
    for (const auto& [id, group] : wal_->recovered()) {
      if (group.tombstone) content.tombstones.insert(id);
      if (!group.gone.IsNone()) content.gone[id] = group.gone;
      // What was found; this run has voted for itself meanwhile.
      if (!group.tombstone) content.hard_states[id] = group.state.hard_state;
    }
    for (const GroupId id : groups) {
      const kv::Reader* state = host_->State(id);
      if (state == nullptr) continue;
      const auto it = state->NewIterator({}, {});
      for (; it->Valid(); it->Next()) content.states[id][std::string(it->key())] = std::string(it->value());
    }
    return content;
  }

 private:
  runtime::ManualExecutor executor_;
  FakeDisk disk_;
  kv::MemoryEngine engine_;
  NoTransport transport_;
  NoObserver observer_;
  Status failure_;
  std::unique_ptr<DataDirectory> directory_;
  std::unique_ptr<Wal> wal_;
  std::unique_ptr<SnapshotStore> snapshots_;
  std::unique_ptr<group::GroupHost> host_;
};

const GroupId kCatalog(0);
const GroupId kRegion(5);
const GroupId kGone(6);
const GroupId kInstalling(7);  // its snapshot arrived, and the process died before it was installed
const GroupId kReturned(8);    // its first replica left, and a second one came
const std::set<GroupId> kGroups = {kCatalog, kRegion, kGone, kInstalling, kReturned};

struct Directory {
  Files files;
  Content content;
};

void StoreSnapshot(SnapshotStore& store, GroupId group, LogIndex index, const std::string& key) {
  auto writer = store.NewWriter({group, index, Term(1)}, false);
  ASSERT_TRUE(writer.ok());
  std::string content;
  PutPrefixed(content, key);
  PutPrefixed(content, std::string(300, 's'));
  ASSERT_TRUE((*writer)->Append(content).ok());
  ASSERT_TRUE((*writer)->Finish({index, Term(1), kAlone}, nullptr).ok());
}

void MakeDirectory(Directory& made) {
  FakeStorage storage(1);
  Identity identity;
  identity.cluster_id = "0e7b-4711";
  identity.controller_id = ControllerId(1);
  identity.node_uuid = "5c83108c";
  identity.name = "1";
  identity.initial_members = "1=host:1";
  {
    auto store = std::make_shared<kv::MemoryStore>();
    Process process(storage, store);
    ASSERT_TRUE(process.Open(&identity).ok());
    ASSERT_TRUE(process.Run({kCatalog, kRegion, kGone, kReturned}).ok());
    for (int i = 0; i < 6; ++i) {
      process.Put(kCatalog, fmt::format("node/{}={}", i, std::string(20, 'n')));
      process.Put(kRegion, fmt::format("key{}={}", i, std::string(i == 3 ? 900 : 60, 'v')));
    }
    process.Put(kGone, "a=b");
    process.Destroy(kGone);
    process.Put(kReturned, "first=1");
    process.Destroy(kReturned, ReplicaId(1));
    ASSERT_TRUE(process.StartSecond(kReturned).ok());
    process.Put(kReturned, "second=2");
    // A snapshot that was sent to somebody, of a state that is in the log as well; and one that is needed.
    StoreSnapshot(process.snapshots(), kRegion, LogIndex(3), "not needed");
    StoreSnapshot(process.snapshots(), kInstalling, LogIndex(9), "installed");
    Write reset;
    reset.group = kInstalling;
    reset.reset_to = raft::SnapshotMark{LogIndex(9), Term(1), kAlone};
    reset.hard_state = raft::HardState{Term(1), ReplicaId(1), LogIndex(9)};
    std::vector<Write> writes;
    writes.push_back(std::move(reset));
    process.wal().Append(std::move(writes), [](Status status) { ASSERT_TRUE(status.ok()); });
    process.executor().Advance(std::chrono::seconds(1));  // and a seal
  }
  storage.Settle();
  for (const auto& [path, inode] : storage.names()) {
    if (path != "d/lock") made.files[path] = inode->cached;
  }
  // The engine flushed nothing: everything has to come from the files.
  Process again(storage, std::make_shared<kv::MemoryStore>());
  ASSERT_TRUE(again.Open(nullptr).ok());
  ASSERT_TRUE(again.Run(kGroups).ok());
  made.content = again.Look(kGroups);
  ASSERT_EQ(made.content.states.at(kRegion).size(), 6u);
  ASSERT_EQ(made.content.states.at(kInstalling).count("installed"), 1u);
  ASSERT_EQ(made.content.tombstones.count(kGone), 1u);
  ASSERT_EQ(made.content.gone.at(kReturned), ReplicaId(1));
  ASSERT_EQ(made.content.states.at(kReturned), (Pairs{{"second", "2"}}));
}

class DirectoryDamageTest : public ::testing::Test {
 protected:
  void SetUp() override { MakeDirectory(directory_); }

  void Try(const Files& files, const std::string& damaged, const std::string& what) {
    FakeStorage storage(1);
    for (const auto& [path, content] : files) {
      auto inode = std::make_shared<FakeStorage::Inode>();
      inode->cached = inode->durable = content;
      storage.names()[path] = std::move(inode);
    }
    storage.Settle();
    ++cases_;
    Process process(storage, std::make_shared<kv::MemoryStore>());
    Status status = process.Open(nullptr);
    if (status.ok()) status = process.Run(kGroups);
    if (status.ok()) {
      ++whole_;
      ASSERT_TRUE(process.Look(kGroups) == directory_.content) << "silent loss: " << what;
      return;
    }
    const std::string message(MessageOf(status));
    ASSERT_THAT(message, HasSubstr(damaged)) << what;
    ASSERT_THAT(message, HasSubstr("offset ")) << what;
  }
  static bool Everything() {
    const char* cases = std::getenv("TENURE_DIRECTORY_CASES");
    return cases != nullptr && std::string_view(cases) == "all";
  }
  void Print(const char* kind) const {
    printf("%s: %zu starts: %zu have everything, %zu refuse and say where; no silent loss, no crash\n", kind,
           cases_, whole_, cases_ - whole_);
  }

  Directory directory_;
  size_t cases_ = 0;
  size_t whole_ = 0;
};

size_t UsedBytes(const std::string& content) {
  const size_t last = content.find_last_not_of('\0');
  return last == std::string::npos ? 0 : RoundUpToSector(last + 1);
}

TEST_F(DirectoryDamageTest, FlipEveryByte) {
  Files files = directory_.files;
  Prng prng(11);
  for (auto& [path, content] : files) {
    const size_t used = UsedBytes(content);
    for (size_t i = 0; i < content.size(); ++i) {
      const bool zeros = i >= used;
      const size_t step = Everything() ? (zeros ? 10 : 1) : (zeros ? 997 : path.ends_with(".wal") ? 29 : 3);
      if (i % step != 0) continue;
      for (const char mask : {static_cast<char>(1 << prng.Below(8)), '\xff'}) {
        content[i] ^= mask;
        Try(files, path, fmt::format("{} byte {} changed by {:#x}", path, i, static_cast<uint8_t>(mask)));
        content[i] ^= mask;
        if (HasFatalFailure()) return;
        if (!Everything()) break;
      }
    }
  }
  Print("flips");
  EXPECT_GT(whole_, 0u) << "a snapshot that nobody needs may be damaged";
  EXPECT_GT(cases_ - whole_, 0u);
}

TEST_F(DirectoryDamageTest, TruncateAtEveryLength) {
  for (const auto& [path, content] : directory_.files) {
    const size_t used = UsedBytes(content);
    for (size_t size = 0; size < content.size(); ++size) {
      const bool zeros = size > used;
      const size_t step = Everything() ? (zeros ? 10 : 1) : (zeros ? 997 : path.ends_with(".wal") ? 61 : 3);
      if (size % step != 0) continue;
      Files cut = directory_.files;
      cut[path].resize(size);
      Try(cut, path, fmt::format("{} cut to {} bytes", path, size));
      if (HasFatalFailure()) return;
    }
  }
  Print("truncations");
  EXPECT_GT(cases_ - whole_, 0u);
}

TEST_F(DirectoryDamageTest, NoFileCanBeMissedSilently) {
  for (const auto& [path, content] : directory_.files) {
    Files rest = directory_.files;
    rest.erase(path);
    FakeStorage storage(1);
    for (const auto& [name, bytes] : rest) {
      auto inode = std::make_shared<FakeStorage::Inode>();
      inode->cached = inode->durable = bytes;
      storage.names()[name] = std::move(inode);
    }
    storage.Settle();
    Process process(storage, std::make_shared<kv::MemoryStore>());
    // As the daemon does: what has no identity is made anew.
    Status status =
        rest.contains("d/identity") ? process.Open(nullptr) : process.Open(&directory_.content.identity);
    if (status.ok()) status = process.Run(kGroups);
    if (status.ok()) {
      EXPECT_TRUE(process.Look(kGroups) == directory_.content) << path << " is missed silently";
    } else {
      EXPECT_FALSE(MessageOf(status).empty()) << path;
    }
  }
}

}  // namespace
}  // namespace tenure::wal
