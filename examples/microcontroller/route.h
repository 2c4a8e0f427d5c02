#ifndef ROUTE_H_
#define ROUTE_H_

#include <cstdint>

// Classifies one image by a network with exits, of which it takes as many stages as the image needs. `python -m
// odn_keras.route` writes routing.h and the stages.
//   pixels: as many values 0..255 as the image has, odn_routing::kInputBytes[0].
//   scores: receives odn_routing::kNumClasses values -128..127 of the last stage that ran;
//           a probability is (score + 128) / 256.
//   stages: receives how many stages ran.
// Returns the index of the highest score, or -1 where the stages cannot run (the reason is printed).
int Route(const std::uint8_t* pixels, std::int8_t* scores, int* stages);

#endif  // ROUTE_H_
