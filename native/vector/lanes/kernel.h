/* Included last: the table of a kernel's functions. */
#define BETA_VECTOR_KERNEL(name, supported)                                                                                         \
  {name,  supported, sum,   word,  widen, narrow, add,         scale_row, layer_norm, gelu,      tanh_row, gelu_sign, gelu_turns,       \
   range, signs,     codes, line_codes, line_columns, decide, pack, extremes, powers, weigh, weigh_moved, approximate, distances, total,      reach,     look_up,  dot,       blend}
