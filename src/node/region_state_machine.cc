#include "node/region_state_machine.h"

#include "base/check.h"
#include "base/format.h"

namespace tenure::node {

void RegionStateMachine::Reset(const kv::Reader& state, LogIndex applied) {
  (void)applied;
  store_.Load(state);
  range_changed_ = false;
  on_range_(store_.range());
  told_ = store_.change_log();
  on_log_(told_);
}

void RegionStateMachine::OnBatchWritten(LogIndex applied) {
  (void)applied;
  if (std::exchange(range_changed_, false)) on_range_(store_.range());
  if (told_ == store_.change_log()) return;
  told_ = store_.change_log();
  on_log_(told_);
}

std::string RegionStateMachine::Apply(const group::ApplyContext& context, std::string_view command,
                                      kv::View& state) {
  const StatusOr<store::WriteCommand> decoded = store::DecodeWriteCommand(command);
  TENURE_CHECK(decoded.ok(), "region {} entry {}: {} (written by a newer version?)", region_, context.index,
               MessageOf(decoded.status()));
  if (decoded->kind == store::WriteCommand::Kind::kRange) range_changed_ = true;
  std::string result;
  store::EncodeReply(store_.Apply(*decoded, context.index, state), result);
  return result;
}

}  // namespace tenure::node
