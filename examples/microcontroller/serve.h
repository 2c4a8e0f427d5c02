#ifndef SERVE_H_
#define SERVE_H_

#include <cstddef>
#include <cstdint>

// What the board gives: a serial port and a clock.
struct Board {
  bool (*read)(std::uint8_t* byte);  // waits for the next byte; false where there will be none
  void (*write)(const std::uint8_t* bytes, std::size_t count);
  std::uint32_t (*microseconds)();  // since any moment; it may wrap around
};

// Classifies the images that `python -m odn_keras.evaluate --runtime=serial` sends, until `read` returns false.
//
// A frame is the bytes  kind, number, payload, CRC-32 of all before it (little-endian, as are all numbers), encoded by
// COBS (Consistent Overhead Byte Stuffing, Cheshire and Baker 1999), which leaves no zero in it, between two zeros. So
// either side finds the next frame after whatever was lost, and messages of the program may stand between the frames.
// A damaged frame is not answered. An answer has the number of its question, and its payload begins with the CRC-32 of
// its question: the answer to another image is never taken for this one's.
//   'i' -> 'I': version of this protocol (1 byte), height, width, channels, classes (2 bytes each), bytes of the model,
//               their CRC-32, bytes of the arena that are used, 0 where that is not known (4 bytes each)
//   'c' and an image -> 'C': microseconds (4 bytes), an int8 score for every class
//   anything else, or an image of another size -> 'E' and the byte 1; where the model cannot run -> 'E' and the byte 2
void Serve(const Board& board);

#endif  // SERVE_H_
