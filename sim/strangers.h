// Processes that are not of the cluster, in worlds with a token: each tries to get in without a token, with
// another one, and with the proof that a member gave for itself. All must be turned away with that reason;
// nothing of what they say may be believed.
//
// Run at a moment of rest, when every call is answered.
// Threading:  the simulation's thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "tenure/internal/v1/agent.pb.h"
#include "tenure/internal/v1/controllers.pb.h"

namespace tenure::sim {

class World;

class Strangers {
 public:
  explicit Strangers(World& world) : world_(world) {}
  // They ask; whoever is let in is a violation.
  void Try();
  // How many of their calls are not answered yet.
  uint64_t waiting() const { return waiting_; }

 private:
  void Register(const std::string& how, const ::tenure::internal::v1::RegisterRequest& request);
  void Announce(const std::string& how, const ::tenure::internal::v1::Announcement& announcement);
  void OnAnswer(const std::string& who, bool turned_away, const std::string& said);

  World& world_;
  uint64_t waiting_ = 0;
};

}  // namespace tenure::sim
