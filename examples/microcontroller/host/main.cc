// Classifies image files and prints, for each, its name, the label and the int8 score of every class, tab-separated.
//   classify image...
// An image is a PGM (1 channel) or PPM (3 channels) file, or holds nothing but the pixels; its size is the model's.
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "../classify.h"
#include "model.h"

namespace {

// The next number of a PGM or PPM header, after white space and comments; -1 where there is none.
int HeaderNumber(const std::string& content, std::size_t& at) {
  while (at < content.size() && (std::isspace(static_cast<unsigned char>(content[at])) || content[at] == '#')) {
    at = content[at] == '#' ? content.find('\n', at) : at + 1;
  }
  if (at >= content.size() || !std::isdigit(static_cast<unsigned char>(content[at]))) return -1;
  int number = 0;
  for (; at < content.size() && std::isdigit(static_cast<unsigned char>(content[at])); ++at) {
    if (number > 65535) return -1;
    number = 10 * number + (content[at] - '0');
  }
  return number;
}

// Where the pixels of the file begin; npos where it holds no image of the model's size.
std::size_t PixelsBegin(const std::string& content) {
  const std::size_t image_bytes = odn_model::kImageBytes;
  if (content.size() == image_bytes) return 0;
  const char* magic = odn_model::kChannels == 1 ? "P5" : "P6";
  if (content.compare(0, 2, magic) != 0) return std::string::npos;
  std::size_t at = 2;
  const int width = HeaderNumber(content, at), height = HeaderNumber(content, at), most = HeaderNumber(content, at);
  ++at;  // one white space
  const bool fits = width == odn_model::kWidth && height == odn_model::kHeight && most == 255 &&
                    content.size() == at + image_bytes;
  return fits ? at : std::string::npos;
}

bool ClassifyFile(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t begin = PixelsBegin(content);
  if (begin == std::string::npos) {
    std::fprintf(stderr, "%s is no image of %d x %d x %d: give a PGM or PPM file, or the pixels alone\n", path,
                 odn_model::kHeight, odn_model::kWidth, odn_model::kChannels);
    return false;
  }
  std::uint8_t pixels[odn_model::kImageBytes];
  std::memcpy(pixels, content.data() + begin, sizeof(pixels));
  std::int8_t scores[odn_model::kNumClasses];
  const int best = Classify(pixels, scores);
  if (best < 0) return false;
  std::printf("%s\t%s", path, Answer(best, scores));
  for (const std::int8_t score : scores) std::printf("\t%d", score);
  std::printf("\n");
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s image...\n", argv[0]);
    return 2;
  }
  for (int i = 1; i < argc; ++i) {
    if (!ClassifyFile(argv[i])) return 2;
  }
  return 0;
}
