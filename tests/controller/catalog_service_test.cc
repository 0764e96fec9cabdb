#include "controller/api/catalog_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/refusal.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using catalog::ReasonOf;
using catalog::RefusalOf;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

TEST(CatalogService, PutsGetsAndDeletes) {
  TestController t;
  t.Lead();
  const auto put = t.Put("k", "v");
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(put->revision(), t.access.applied().value());
  pb::GetEntryRequest get;
  get.set_key("k");
  const auto got = t.Call<pb::GetEntryResponse>("tenure.v1.Catalog/GetEntry", get);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->record().entry().value(), "v");
  EXPECT_EQ(got->revision(), put->revision());
  EXPECT_EQ(t.group.reads, 1);
  get.mutable_read()->set_stale(true);
  const auto stale = t.Call<pb::GetEntryResponse>("tenure.v1.Catalog/GetEntry", get);
  EXPECT_EQ(stale->age_ms(), 40);
  EXPECT_EQ(t.group.reads, 1);
  pb::DeleteEntryRequest erase;
  erase.set_key("k");
  EXPECT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DeleteEntry", erase)->changed());
  EXPECT_FALSE(t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DeleteEntry", erase)->changed());
  EXPECT_FALSE(t.Call<pb::GetEntryResponse>("tenure.v1.Catalog/GetEntry", get)->has_record());
}

TEST(CatalogService, RefusalsCarryTheirReason) {
  TestController t;
  t.Lead();
  pb::PutEntryRequest put;
  const auto call = [&] { return t.Call<pb::ChangeResponse>("tenure.v1.Catalog/PutEntry", put).status(); };
  EXPECT_EQ(ReasonOf(call()), pb::REASON_INVALID_ARGUMENT);
  put.set_key("k");
  put.set_if_revision(99);
  EXPECT_EQ(ReasonOf(call()), pb::REASON_CONDITION_FAILED);
  put.set_if_revision(0);
  using Kind = group::ProposeOutcome::Kind;
  const std::vector<std::pair<Kind, pb::Reason>> outcomes = {{Kind::kNotLeader, pb::REASON_NOT_LEADER},
                                                             {Kind::kTransferring, pb::REASON_UNAVAILABLE},
                                                             {Kind::kOverloaded, pb::REASON_OVERLOADED},
                                                             {Kind::kOutOfSpace, pb::REASON_OUT_OF_SPACE},
                                                             {Kind::kUnknown, pb::REASON_UNKNOWN_OUTCOME}};
  for (const auto& [kind, reason] : outcomes) {
    t.group.next_outcome = kind;
    EXPECT_EQ(ReasonOf(call()), reason);
  }
  std::optional<StatusOr<std::string>> raw;
  t.network->Call(TestController::kEndpoint, "tenure.v1.Catalog/PutEntry", "\xff\xff", seconds(1),
                  [&](auto answer) { raw = std::move(answer); });
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(ReasonOf(raw->status()), pb::REASON_INVALID_ARGUMENT);
  t.network->Call(TestController::kEndpoint, "tenure.v1.Catalog/Nonsense", "", seconds(1),
                  [&](auto answer) { raw = std::move(answer); });
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(raw->status().code(), StatusCode::kUnimplemented);
}

TEST(CatalogService, AFollowerNamesTheLeaderAndServesStaleReads) {
  TestController t;
  t.Lead();
  (void)t.Put("k", "v");
  t.Follow(8, 2);
  EXPECT_EQ(RefusalOf(t.Put("k", "w").status())->not_leader().leader_address(), "c2:7100");
  pb::GetEntryRequest get;
  get.set_key("k");
  EXPECT_EQ(ReasonOf(t.Call<pb::GetEntryResponse>("tenure.v1.Catalog/GetEntry", get).status()),
            pb::REASON_NOT_LEADER);
  get.mutable_read()->set_stale(true);
  EXPECT_EQ(t.Call<pb::GetEntryResponse>("tenure.v1.Catalog/GetEntry", get)->record().entry().value(), "v");
}

TEST(CatalogService, ADeposedLeaderThatDoesNotKnowItAnswersNoRead) {
  TestController t;
  t.Lead();
  t.group.leads = false;  // the group cannot confirm
  pb::GetEntryRequest get;
  get.set_key("k");
  EXPECT_EQ(ReasonOf(t.Call<pb::GetEntryResponse>("tenure.v1.Catalog/GetEntry", get).status()),
            pb::REASON_UNAVAILABLE);
}

TEST(CatalogService, ListsKindsAndPages) {
  TestController t;
  t.Lead();
  for (int i = 0; i < 5; ++i) (void)t.Put("k" + std::to_string(i), "v");
  pb::ListRequest list;
  const auto call = [&] { return t.Call<pb::ListResponse>("tenure.v1.Catalog/List", list); };
  EXPECT_EQ(ReasonOf(call().status()), pb::REASON_INVALID_ARGUMENT);
  list.set_kind(pb::RECORD_ENTRY);
  list.set_limit(2);
  std::string keys;
  for (int pages = 1;; ++pages) {
    const auto page = call();
    for (const auto& record : page->records()) keys += record.entry().key() + " ";
    if (page->next_after().empty()) {
      EXPECT_EQ(pages, 3);
      break;
    }
    list.set_after(page->next_after());
  }
  EXPECT_EQ(keys, "k0 k1 k2 k3 k4 ");
  list.clear_after();
  list.set_kind(pb::RECORD_CONTROLLER);
  const auto first = call();
  EXPECT_EQ(first->records_size(), 2);
  list.set_after(first->next_after());
  EXPECT_EQ(call()->records(0).controller().id(), 3u);
  list.set_after("x");
  EXPECT_EQ(ReasonOf(call().status()), pb::REASON_INVALID_ARGUMENT);
  list.Clear();
  list.add_kinds(pb::RECORD_CLUSTER);
  list.add_kinds(pb::RECORD_CONTROLLER);
  EXPECT_EQ(call()->records_size(), 4);
  list.add_kinds(pb::RECORD_CLUSTER);
  EXPECT_EQ(ReasonOf(call().status()), pb::REASON_INVALID_ARGUMENT);
  EXPECT_THAT(std::string(MessageOf(call().status())),
              HasSubstr("kinds: RECORD_CLUSTER is named more than once"));
  list.mutable_kinds()->RemoveLast();
  list.add_kinds(pb::RECORD_ENTRY);
  EXPECT_EQ(ReasonOf(call().status()), pb::REASON_INVALID_ARGUMENT);
}

// ---- Catalog.Stream ----

class StreamTest : public ::testing::Test {
 protected:
  void Open() {
    stream = t.network->OpenStream(TestController::kEndpoint, "tenure.v1.Catalog/Stream", heard, {});
  }
  static pb::StreamRequest Put(uint64_t tag, const std::string& key, uint64_t sequence = 0) {
    pb::StreamRequest request;
    request.set_tag(tag);
    request.mutable_put()->set_key(key);
    request.mutable_put()->set_value("v" + std::to_string(tag));
    if (sequence != 0) {
      request.mutable_put()->mutable_id()->set_client_id(9);
      request.mutable_put()->mutable_id()->set_sequence(sequence);
    }
    return request;
  }
  static pb::StreamRequest Get(uint64_t tag, const std::string& key) {
    pb::StreamRequest request;
    request.set_tag(tag);
    request.mutable_get()->set_key(key);
    return request;
  }
  void Send(const std::vector<pb::StreamRequest>& requests) {
    pb::StreamRequests message;
    for (const auto& request : requests) *message.add_requests() = request;
    stream->Send(message.SerializeAsString());
    t.executor.Advance(milliseconds(1));
  }
  std::map<uint64_t, pb::StreamResponse> Answers() const {
    std::map<uint64_t, pb::StreamResponse> answers;
    for (const auto& message : heard.messages) {
      for (const auto& response : message.responses()) {
        EXPECT_TRUE(answers.emplace(response.tag(), response).second) << "two answers for " << response.tag();
      }
    }
    return answers;
  }

  TestController t;
  StreamRecorder<pb::StreamResponses> heard;
  std::unique_ptr<runtime::Stream> stream;
};

TEST_F(StreamTest, ManyRequestsOneMessageOneAnswerMessage) {
  t.Lead();
  Open();
  std::vector<pb::StreamRequest> requests;
  for (uint64_t i = 1; i <= 100; ++i) requests.push_back(Put(i, "k" + std::to_string(i % 10), i));
  t.group.hold = true;
  Send(requests);
  EXPECT_TRUE(heard.messages.empty());
  t.group.Release();
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(heard.messages.size(), 1u);
  const auto answers = Answers();
  EXPECT_EQ(answers.size(), 100u);
  for (uint64_t i = 2; i <= 100; ++i) {
    EXPECT_FALSE(answers.at(i).has_refusal());
    EXPECT_EQ(answers.at(i).change().revision(), answers.at(i - 1).change().revision() + 1);
  }
  // Sent again on another stream: the same answers, nothing done.
  const uint64_t entries = answers.at(100).change().revision();
  Send({Put(500, "k1", 1)});
  EXPECT_EQ(Answers().at(500).change().revision(), answers.at(1).change().revision());
  EXPECT_EQ(entries, answers.at(100).change().revision());
}

TEST_F(StreamTest, ReadsOfAMessageShareOneConfirmation) {
  t.Lead();
  (void)t.Put("a", "1");
  Open();
  const int before = t.group.reads;
  Send({Get(1, "a"), Get(2, "b"), Get(3, "a"), Get(4, "")});
  EXPECT_EQ(t.group.reads, before + 1);
  const auto answers = Answers();
  EXPECT_EQ(answers.at(1).get().record().entry().value(), "1");
  EXPECT_FALSE(answers.at(2).get().has_record());
  EXPECT_EQ(answers.at(4).refusal().reason(), pb::REASON_INVALID_ARGUMENT);
}

TEST_F(StreamTest, EachRequestIsRefusedByItself) {
  t.Lead();
  Open();
  pb::StreamRequest nothing;
  nothing.set_tag(3);
  Send({Put(1, ""), Put(2, "k"), nothing});
  const auto answers = Answers();
  EXPECT_EQ(answers.at(1).refusal().reason(), pb::REASON_INVALID_ARGUMENT);
  EXPECT_FALSE(answers.at(2).has_refusal());
  EXPECT_EQ(answers.at(3).refusal().reason(), pb::REASON_UNSUPPORTED_FORMAT);
  t.Follow(8, 2);
  Send({Put(4, "k"), Get(5, "k")});
  EXPECT_EQ(Answers().at(4).refusal().not_leader().leader_address(), "c2:7100");
  EXPECT_EQ(Answers().at(5).refusal().reason(), pb::REASON_NOT_LEADER);
}

TEST_F(StreamTest, BoundsWhatIsUnderWay) {
  t.Lead();
  Open();
  t.group.hold = true;
  std::vector<pb::StreamRequest> requests;
  for (uint64_t i = 1; i <= 16390; ++i) requests.push_back(Put(i, "k"));
  Send(requests);
  ASSERT_FALSE(heard.messages.empty());
  EXPECT_EQ(Answers().size(), 6u);
  EXPECT_EQ(Answers().begin()->second.refusal().reason(), pb::REASON_OVERLOADED);
  t.group.Release();
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(Answers().size(), 16390u);
}

TEST_F(StreamTest, AClientThatDoesNotTakeItsAnswersIsCutOff) {
  t.Lead();
  Open();
  t.fake_network.set_server_buffer(17 << 20);
  Send({Put(1, "k")});
  ASSERT_TRUE(heard.closed);
  EXPECT_EQ(ReasonOf(*heard.closed), pb::REASON_OVERLOADED);
}

TEST_F(StreamTest, AnswersAfterTheEndAreDropped) {
  t.Lead();
  Open();
  t.group.hold = true;
  Send({Put(1, "k")});
  stream.reset();
  t.executor.Advance(milliseconds(1));
  t.group.Release();
  t.executor.Advance(milliseconds(1));
  EXPECT_TRUE(heard.messages.empty());
  EXPECT_TRUE(t.Put("k", "next").ok());
}

TEST_F(StreamTest, GarbageEndsTheStreamOnly) {
  t.Lead();
  Open();
  stream->Send("\xff\xff\xff");
  t.executor.Advance(milliseconds(1));
  ASSERT_TRUE(heard.closed);
  EXPECT_EQ(ReasonOf(*heard.closed), pb::REASON_INVALID_ARGUMENT);
  EXPECT_TRUE(t.Put("k", "v").ok());
}

}  // namespace
}  // namespace tenure::controller
