// A client that sends anything: the input cut into pieces (first byte: how) goes to a session whose node
// answers at once, later, out of order or with refusals. Checked: nothing crashes, replies are well-formed
// and as many as requests allow, memory is accounted for to the last byte.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "resp/front_end.h"
#include "resp/session.h"
#include "tests/resp/fake_data_service.h"

namespace {

using namespace tenure;

class StillClock : public runtime::Clock {
 public:
  Instant Now() const override { return Instant(std::chrono::seconds(1)); }
  WallTime WallNow() const override { return WallFromMillis(1); }
};

class Sink : public resp::Transport {
 public:
  void OnSessionReady() override {}
};

// Skips one reply; false if `text` does not begin with one.
bool SkipReply(std::string_view& text, int depth) {
  const size_t end = text.find("\r\n");
  if (end == text.npos || depth > 32) return false;
  const char type = text[0];
  const std::string_view rest_of_line = text.substr(1, end - 1);
  text.remove_prefix(end + 2);
  int64_t count = 0;
  switch (type) {
    case '+':
    case '-':
    case ':':
    case ',':
    case '#':
    case '_':
      return true;
    case '$':
    case '=':
      if (!resp::ParseInteger(rest_of_line, count)) return false;
      if (count < 0) return true;
      if (text.size() < static_cast<size_t>(count) + 2) return false;
      text.remove_prefix(static_cast<size_t>(count) + 2);
      return true;
    case '*':
    case '~':
    case '%':
      if (!resp::ParseInteger(rest_of_line, count)) return false;
      if (type == '%') count *= 2;
      for (int64_t i = 0; i < count; ++i) {
        if (!SkipReply(text, depth + 1)) return false;
      }
      return true;
    default:
      return false;
  }
}

void Take(resp::Session& session) {
  const std::string output = session.TakeOutput();
  std::string_view rest = output;
  while (!rest.empty()) TENURE_CHECK(SkipReply(rest, 0), "malformed reply at \"{}\"", rest.substr(0, 100));
  session.SetUnsent(0);
}

resp::FrontEndSettings SmallSettings() {
  resp::FrontEndSettings settings;
  settings.parser.max_argument_bytes = 200;
  settings.parser.max_request_bytes = 2000;
  settings.parser.max_announced_bytes = 5000;
  settings.parser.max_line_bytes = 300;
  settings.max_in_flight = 8;
  settings.max_queued_commands = 10;
  settings.output_pause_bytes = 20'000;
  return settings;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint8_t mode = data[0];
  const size_t piece = 1 + data[1] % 64;
  std::string_view input(reinterpret_cast<const char*>(data + 2), size - 2);

  resp::FakeDataService service;
  service.view = resp::ThreeNodeView();
  service.hold = (mode & 1) != 0;
  StillClock clock;
  resp::FrontEnd front(SmallSettings(), service, clock, Logger());
  Sink sink;
  std::shared_ptr<resp::Session> session = front.Connect(sink, "peer:1", "local:1");
  size_t turn = 0;
  while (!input.empty() && !session->IsOver()) {
    const size_t n = (mode & 2) != 0 ? input.size() : std::min(piece, input.size());
    session->OnBytes(input.substr(0, n));
    input.remove_prefix(n);
    ++turn;
    if ((mode & 4) != 0 && turn % 3 == 0) service.next_outcome = node::Moved{1, "10.0.0.3:7101"};
    if (service.hold && turn % 2 == 0) service.Release(service.held.size() / 2);
    if ((mode & 8) == 0 || turn % 5 == 0) Take(*session);
  }
  session->OnEndOfInput();
  if ((mode & 16) == 0) {
    while (!service.held.empty() || session->HasOutput()) {
      service.ReleaseAll();
      Take(*session);
    }
    TENURE_CHECK(session->IsOver(), "the session does not end");
  }
  session.reset();
  service.ReleaseAll();
  TENURE_CHECK(front.total_bytes() == 0, "{} bytes are left", front.total_bytes());
  return 0;
}
