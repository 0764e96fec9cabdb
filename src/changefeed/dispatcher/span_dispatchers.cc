#include "changefeed/dispatcher/span_dispatchers.h"

#include <utility>

namespace tenure::changefeed {

class SpanDispatchers::Handle final : public Dispatcher {
 public:
  Handle(SpanDispatchers& owner, Works::iterator work)
      : owner_(owner), work_(work), last_((*work)->report()) {}
  ~Handle() override { Stop(); }

  void Hold(const SchemaChange& change) override {
    if (!stopped_) work().Hold(change);
  }
  void Write(const SchemaChange& change) override {
    if (!stopped_) work().Write(change);
  }
  void Pass(CommitTs barrier) override {
    if (!stopped_) work().Pass(barrier);
  }
  void CheckpointAdvanced(CommitTs checkpoint) override {
    if (!stopped_) work().CheckpointAdvanced(checkpoint);
  }
  void SetEnd(CommitTs end) override {
    if (!stopped_) work().SetEnd(end);
  }
  void Stop() override {
    if (stopped_) return;
    last_ = work().report();
    resolved_ = work().resolved();
    spec_ = work().spec();
    stopped_ = true;
    owner_.Stop(work_);
  }
  DispatcherReport report() const override { return stopped_ ? last_ : work().report(); }
  CommitTs resolved() const override { return stopped_ ? resolved_ : work().resolved(); }
  uint64_t rows_per_second() const override { return stopped_ ? 0 : work().rows_per_second(); }
  uint64_t rows_behind() const override { return stopped_ ? 0 : work().rows_behind(); }
  const DispatcherSpec& spec() const override { return stopped_ ? spec_ : work().spec(); }

 private:
  SpanWork& work() const { return **work_; }

  SpanDispatchers& owner_;
  const Works::iterator work_;
  bool stopped_ = false;
  DispatcherReport last_;
  CommitTs resolved_;
  DispatcherSpec spec_;
};

SpanDispatchers::SpanDispatchers(DispatcherParts parts)
    : parts_(std::move(parts)), self_(std::make_shared<SpanDispatchers*>(this)) {}

SpanDispatchers::~SpanDispatchers() {
  *self_ = nullptr;
}

std::unique_ptr<Dispatcher> SpanDispatchers::Make(DispatcherSpec spec, WritePermit permit) {
  works_.push_back(std::make_unique<SpanWork>(parts_, std::move(spec), std::move(permit)));
  const auto work = std::prev(works_.end());
  (*work)->Start();
  return std::make_unique<Handle>(*this, work);
}

std::vector<const DispatcherSpec*> SpanDispatchers::specs() const {
  std::vector<const DispatcherSpec*> specs;
  for (const auto& work : works_) {
    if (!work->stopped()) specs.push_back(&work->spec());
  }
  return specs;
}

void SpanDispatchers::Stop(Works::iterator work) {
  (*work)->Stop([self = self_, work] {
    if (*self != nullptr) (*self)->OnJoined(work);
  });
}

void SpanDispatchers::OnJoined(Works::iterator work) {
  works_.erase(work);
  if (!works_.empty()) return;
  for (Closure& done : std::exchange(joined_, {})) parts_.executor.Post(std::move(done));
}

void SpanDispatchers::Join(Closure done) {
  if (works_.empty()) return parts_.executor.Post(std::move(done));
  joined_.push_back(std::move(done));
}

}  // namespace tenure::changefeed
