// From rows as files store them (see formats.py) to panels, without loss: codes are reordered,
// scales are copied.
#pragma once

#include "kernels.h"

namespace wazn {

struct FormatSize {
  int64_t columns, bytes;  // of one block in the file
};
FormatSize file_block(Layout layout);

// Packs `rows` (at most 16) rows of raw data, `row_bytes` apart, into one panel.
void pack_panel(Layout layout, const uint8_t* raw, int64_t rows, int64_t columns, uint8_t* panel);

}  // namespace wazn
