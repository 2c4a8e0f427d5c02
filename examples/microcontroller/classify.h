#ifndef CLASSIFY_H_
#define CLASSIFY_H_

#include <cstddef>
#include <cstdint>

#include "model.h"

// Classifies one image.
//   pixels: odn_model::kImageBytes values 0..255, row by row, the channels of a pixel side by side.
//   scores: receives odn_model::kNumClasses values -128..127; their order is that of the probabilities,
//           which are odn_model::kOutputScale * (score - odn_model::kOutputZeroPoint).
// Returns the index of the highest score, or -1 where the model cannot run (the reason is printed).
int Classify(const std::uint8_t* pixels, std::int8_t* scores);

// Bytes of the arena that the model takes, known after the first image; 0 where it is not known.
std::size_t ArenaBytesUsed();

// The label of the best class, or "none of these" where its score is too low for an answer.
inline const char* Answer(int best, const std::int8_t* scores) {
  return scores[best] < odn_model::kLeastScore ? "none of these" : odn_model::kLabels[best];
}

#endif  // CLASSIFY_H_
