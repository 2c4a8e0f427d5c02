#include "serve.h"

#include <algorithm>
#include <initializer_list>

#include "classify.h"
#include "model.h"

namespace {

constexpr std::uint8_t kVersion = 2;
constexpr std::size_t kHead = 2, kCheck = 4;  // bytes: kind and number; CRC-32
constexpr std::size_t kLargestRequest = kHead + odn_model::kImageBytes + kCheck;
constexpr std::size_t kLargestAnswer = kHead + kCheck + 4 + odn_model::kNumClasses + 25 + kCheck;

std::uint8_t request[kLargestRequest];

std::uint32_t Crc32(const std::uint8_t* bytes, std::size_t count) {
  std::uint32_t crc = 0xffffffffu;
  for (std::size_t i = 0; i < count; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

struct Question {
  std::uint8_t number;
  std::uint32_t check;  // its CRC-32
};

class Answer {
 public:
  Answer(char kind, const Question& question) {
    Append(static_cast<std::uint8_t>(kind), 1);
    Append(question.number, 1);
    Append(question.check, kCheck);
  }

  void Append(std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) frame_[size_++] = static_cast<std::uint8_t>(value >> (8 * i));
  }

  void Send(const Board& board) {
    Append(Crc32(frame_, size_), kCheck);
    const std::uint8_t zero = 0;
    board.write(&zero, 1);
    std::size_t begin = 0;
    while (begin <= size_) {  // a block: how far the next zero is, and the bytes before it
      const std::size_t most = std::min<std::size_t>(size_, begin + 254);
      const std::size_t end = std::find(frame_ + begin, frame_ + most, 0) - frame_;
      const std::uint8_t code = static_cast<std::uint8_t>(end - begin + 1);
      board.write(&code, 1);
      board.write(frame_ + begin, end - begin);
      if (code == 255 && end == size_) break;
      begin = code == 255 ? end : end + 1;
    }
    board.write(&zero, 1);
  }

 private:
  std::uint8_t frame_[kLargestAnswer];
  std::size_t size_ = 0;
};

// The next frame, decoded into `request`; its size, 0 where it is longer than any or broken off, -1 at the end.
int NextFrame(const Board& board) {
  std::size_t size = 0, left = 0;  // left: bytes of the block that are to come
  bool zero = false, whole = true;  // zero: whether one stands behind the block
  for (std::uint8_t byte; board.read(&byte);) {
    if (byte == 0) return whole && left == 0 ? static_cast<int>(size) : 0;
    if (left == 0) {
      if (zero && size < kLargestRequest) {
        request[size++] = 0;
      } else if (zero) {
        whole = false;
      }
      left = byte - 1u;
      zero = byte != 255;
    } else {
      --left;
      if (size < kLargestRequest) {
        request[size++] = byte;
      } else {
        whole = false;
      }
    }
  }
  return -1;
}

void SendInformation(const Board& board, const Question& question) {
  static const std::uint32_t model_crc = Crc32(odn_model::kModel, odn_model::kModelBytes);
  Answer answer('I', question);
  answer.Append(kVersion, 1);
  for (const int size : {odn_model::kHeight, odn_model::kWidth, odn_model::kChannels, odn_model::kNumClasses}) {
    answer.Append(static_cast<std::uint32_t>(size), 2);
  }
  answer.Append(static_cast<std::uint32_t>(odn_model::kModelBytes), 4);
  answer.Append(model_crc, 4);
  answer.Append(static_cast<std::uint32_t>(ArenaBytesUsed()), 4);
  answer.Send(board);
}

void SendError(const Board& board, const Question& question, std::uint8_t reason) {
  Answer answer('E', question);
  answer.Append(reason, 1);
  answer.Send(board);
}

void SendScores(const Board& board, const Question& question) {
  static std::int8_t scores[odn_model::kNumClasses];
  const std::uint32_t began = board.microseconds();
  const int best = Classify(request + kHead, scores);
  const std::uint32_t took = board.microseconds() - began;
  if (best < 0) return SendError(board, question, 2);
  Answer answer('C', question);
  answer.Append(took, 4);
  for (const std::int8_t score : scores) answer.Append(static_cast<std::uint8_t>(score), 1);
  answer.Send(board);
}

}  // namespace

void Serve(const Board& board) {
  for (int size; (size = NextFrame(board)) >= 0;) {
    if (size < static_cast<int>(kHead + kCheck)) continue;
    const std::size_t content = static_cast<std::size_t>(size) - kCheck;
    std::uint32_t check = 0;
    for (std::size_t i = 0; i < kCheck; ++i) check |= static_cast<std::uint32_t>(request[content + i]) << (8 * i);
    if (check != Crc32(request, content)) continue;
    const Question question = {request[1], check};
    if (request[0] == 'i' && content == kHead) {
      SendInformation(board, question);
    } else if (request[0] == 'c' && content == kHead + odn_model::kImageBytes) {
      SendScores(board, question);
    } else {
      SendError(board, question, 1);
    }
  }
}
