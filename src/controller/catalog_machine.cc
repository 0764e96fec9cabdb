#include "controller/catalog_machine.h"

#include <utility>

#include "base/check.h"
#include "base/format.h"

namespace tenure::controller {

namespace ipb = ::tenure::internal::v1;

class CatalogMachine::Adapter : public group::StateMachine {
 public:
  explicit Adapter(CatalogMachine& machine) : machine_(machine) {}
  ~Adapter() override { machine_.state_ = nullptr; }
  void Reset(const kv::Reader& state, LogIndex applied) override { machine_.OnReset(state, applied); }
  bool Prepare(std::span<const std::string_view> commands, const kv::Reader& state) override {
    machine_.OnPrepare(commands, state);
    return true;
  }
  std::string Apply(const group::ApplyContext& context, std::string_view, kv::View& state) override {
    return machine_.OnApply(context, state);
  }
  void FinishBatch(kv::View& state) override { machine_.catalog_.FinishBatch(state); }
  void OnBatchWritten(LogIndex applied) override { machine_.OnBatchWritten(applied); }

 private:
  CatalogMachine& machine_;
};

CatalogMachine::CatalogMachine(const catalog::CatalogLimits& limits, Logger logger)
    : logger_(std::move(logger)), catalog_(limits) {}
CatalogMachine::~CatalogMachine() = default;

std::unique_ptr<group::StateMachine> CatalogMachine::MakeAdapter() {
  return std::make_unique<Adapter>(*this);
}

void CatalogMachine::OnReset(const kv::Reader& state, LogIndex applied) {
  state_ = &state;
  applied_ = Revision(applied.value());
  catalog_.Reset(state, applied_);
  LogNotes();
  for (CatalogListener* listener : listeners_) listener->OnCatalogReset(applied_);
}

void CatalogMachine::OnPrepare(std::span<const std::string_view> commands, const kv::Reader& state) {
  TENURE_CHECK(prepared_.empty(), "{} commands were prepared and not applied", prepared_.size());
  prepared_.resize(commands.size());
  std::vector<std::string> keys;
  keys.reserve(commands.size());
  for (size_t i = 0; i < commands.size(); ++i) {
    auto& command = prepared_[commands.size() - 1 - i];
    if (command.emplace().ParseFromArray(commands[i].data(), static_cast<int>(commands[i].size()))) {
      if (auto key = catalog::Catalog::EntryKeyOf(*command)) keys.push_back(*std::move(key));
    } else {
      command.reset();
    }
  }
  state.Prefetch(keys);
}

std::string CatalogMachine::OnApply(const group::ApplyContext& context, kv::View& state) {
  TENURE_CHECK(!prepared_.empty(), "the command at index {} was not prepared", context.index);
  std::optional<ipb::CatalogCommand> command = std::move(prepared_.back());
  prepared_.pop_back();
  ipb::CatalogResult result;
  if (command) {
    result = catalog_.Apply(*std::move(command), Revision(context.index.value()), context.term, state);
  } else {
    // The same bytes fail everywhere: a no-op, like every command this format does not know.
    result.set_reason(::tenure::v1::REASON_UNSUPPORTED_FORMAT);
    result.set_message(fmt::format("the command at index {} cannot be decoded: nothing done", context.index));
    logger_.Warn("{}", result.message());
  }
  LogNotes();
  return result.SerializeAsString();
}

void CatalogMachine::LogNotes() {
  for (const std::string& note : catalog_.TakeNotes()) logger_.Warn("{}", note);
}

void CatalogMachine::OnBatchWritten(LogIndex applied) {
  applied_ = Revision(applied.value());
  catalog::Events events = catalog_.TakeEvents();
  for (CatalogListener* listener : listeners_) listener->OnCatalogChanged(events.records, applied_);
  if (sink_) sink_(std::move(events));
}

}  // namespace tenure::controller
