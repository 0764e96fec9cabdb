// A session with a fake node behind it and a transport that keeps what is sent.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "resp/front_end.h"
#include "resp/session.h"
#include "tests/resp/fake_data_service.h"

namespace tenure::resp {

class ManualClock : public runtime::Clock {
 public:
  Instant Now() const override { return now; }
  WallTime WallNow() const override { return WallFromMillis(1'700'000'000'000); }
  Instant now = Instant(std::chrono::seconds(100));
};

// One client.
class Client : public Transport {
 public:
  explicit Client(FrontEnd& front, std::string peer = "10.1.1.1:5000")
      : session(front.Connect(*this, std::move(peer), "10.0.0.1:7101")) {}
  void OnSessionReady() override { ++notified; }

  void Send(std::string_view bytes) { session->OnBytes(bytes); }
  // As an array of bulk strings.
  void Command(const std::vector<std::string>& arguments) { Send(Encode(arguments)); }
  std::string Take() {
    std::string out = session->TakeOutput();
    session->SetUnsent(0);
    return out;
  }
  // Sends an inline command and returns the reply.
  std::string Ask(std::string_view line) {
    Send(std::string(line) + "\r\n");
    return Take();
  }
  static std::string Encode(const std::vector<std::string>& arguments) {
    std::string out = "*" + std::to_string(arguments.size()) + "\r\n";
    for (const std::string& a : arguments) out += "$" + std::to_string(a.size()) + "\r\n" + a + "\r\n";
    return out;
  }

  int notified = 0;
  std::shared_ptr<Session> session;
};

class SessionTest : public testing::Test {
 protected:
  SessionTest() { service.view = ThreeNodeView(); }
  void Settings(FrontEndSettings settings) {
    client.reset();
    front = std::make_unique<FrontEnd>(settings, service, clock, Logger());
    client = std::make_unique<Client>(*front);
  }
  std::string Ask(std::string_view line) { return client->Ask(line); }
  std::vector<std::string> Held() const {
    std::vector<std::string> names;
    for (const auto& held : service.held) names.push_back(held.what);
    return names;
  }

  FakeDataService service;
  ManualClock clock;
  std::unique_ptr<FrontEnd> front = std::make_unique<FrontEnd>(FrontEndSettings{}, service, clock, Logger());
  std::unique_ptr<Client> client = std::make_unique<Client>(*front);
};

using Names = std::vector<std::string>;

}  // namespace tenure::resp
