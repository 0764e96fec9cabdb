// An operator who creates, moves, pauses, resumes and removes changefeeds all the time: of the first
// database, and of that of the tables whose schemas another one changes, of which this one writes rows.
//
// Each lane has one changefeed at a time, under a name that is not used again, and one request under way,
// repeated until its answer is definite. What arrives is judged by FeedSinks; at rest this one demands that
// every running changefeed has one maintainer, every span one dispatcher, and every acknowledged write has
// arrived. In the end, with everything sound, each is moved once more.
//
// Threading: the simulation's thread; acts through events of the scheduler.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "sim/resp_client.h"
#include "sim/sim_clock.h"
#include "sim/sim_executor.h"
#include "sim/world.h"
#include "tenure/v1/changefeeds.pb.h"

namespace tenure::sim {

class FeedOperator {
 public:
  FeedOperator(World& world, Prng prng);
  ~FeedOperator();
  FeedOperator(const FeedOperator&) = delete;
  FeedOperator& operator=(const FeedOperator&) = delete;

  // Nothing happens in a world without changefeeds.
  void Start();
  // No new ideas: what is paused is resumed, and every lane has a changefeed.
  void Finish();
  // What the controllers say about changefeeds; often.
  void Look();
  // What is missing at rest; empty: nothing.
  std::string Unfinished();
  // Every changefeed to another node.
  void MoveAll();
  std::string NotMoved();
  void RemoveAll();
  std::string NotRemoved();
  uint64_t created() const { return created_; }

 private:
  static constexpr uint64_t kFirstRow = 1'000'000'000;  // above the values of others
  enum class Wish : uint8_t { kNone, kCreate, kMove, kPause, kResume, kRemove };
  struct Lane {
    size_t number = 0;
    uint64_t made = 0;  // changefeeds so far: the name's second number
    bool exists = false;
    bool paused = false;
    bool follows_keys = false;  // of the first database, with tables or not; else tables of theirs
    Wish under_way = Wish::kNone;
    std::string method;
    std::string request;
    uint64_t epoch = 0;                    // of the last owner
    bool to_move = false;                  // in the end
    std::optional<uint64_t> moved_from;    // the owner epoch before that
    std::optional<Instant> covered_since;  // what is written from then on is delivered
    runtime::Timer timer;
    runtime::Timer stop_timer;
    std::string name() const;
  };

  // A write of a row whose outcome is known.
  struct RowWrite {
    std::string c1;
    Instant called;
    Instant returned;
  };

  const char* DatabaseOf(const Lane& lane) const;
  void Pause(Lane& lane);
  void Decide(Lane& lane);
  void Begin(Lane& lane, Wish wish);
  void Send(Lane& lane);
  void OnAnswer(Lane& lane, const StatusOr<std::string>& answer);
  void Done(Lane& lane);
  // Until it is told that the stop of what was paused is complete.
  void AwaitStop(Lane& lane);
  void OnShown(Lane& lane, const std::string& name, const StatusOr<std::string>& answer);
  void LookAt(Lane& lane, const ::tenure::v1::ChangefeedRecord& record);
  bool IsCovered(const Lane& lane, uint64_t start_ts);
  std::string Incomplete(const Lane& lane);
  std::string IncompleteRows(const Lane& lane, Instant before);
  std::string FaultOf(const Lane& lane);
  std::string NotOnce();
  void WriteRow();

  World& world_;
  Prng prng_;
  SimClock clock_;
  SimProcess process_;
  SimExecutor& executor_;
  std::unique_ptr<runtime::Network> network_;
  std::unique_ptr<RespClient> rows_;
  runtime::Timer row_timer_;
  std::vector<RowWrite> written_rows_;
  uint64_t next_row_ = kFirstRow;
  std::vector<std::unique_ptr<Lane>> lanes_;
  bool finishing_ = false;
  bool removing_ = false;
  uint64_t created_ = 0;
};

}  // namespace tenure::sim
