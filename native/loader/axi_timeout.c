#include "loader/axi_timeout.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
/* The page of the timeout blocks in each SLCR, and their registers in it. */
#define FPD 0xFD616000
#define LPD 0xFF416000
enum { COMMAND_STORE = 0x10, RESPONSE = 0x14, RESPONSE_TYPE = 0x18, PRESCALE = 0x20 };
/* FPD blocks 1 and 2 are M_AXI_HPM0_FPD and HPM1_FPD, LPD block 0 is M_AXI_HPM0_LPD. */
#define FPD_BLOCKS 0x6u
#define LPD_BLOCKS 0x1u
#define TIMER_ON (UINT32_C(1) << 16)
#define TIMER_5S UINT32_C(0x1E0C)

/* Reads back: the SLCRs can be write-protected, and a protected write is silent. */
static int set(volatile uint32_t *page, unsigned offset, uint32_t value) {
  page[offset / 4] = value;
  return page[offset / 4] == value;
}

static int enable(int memory, off_t base, uint32_t blocks) {
  void *mapping = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, base);
  if (mapping == MAP_FAILED) return 0;
  volatile uint32_t *page = mapping;
  /* The timer before the blocks that it drives; the kind of answer before answers. */
  const int done = set(page, PRESCALE, TIMER_ON | TIMER_5S) && set(page, RESPONSE_TYPE, page[RESPONSE_TYPE / 4] | blocks) &&
                   set(page, RESPONSE, page[RESPONSE / 4] | blocks) &&
                   set(page, COMMAND_STORE, page[COMMAND_STORE / 4] | blocks);
  munmap(mapping, PAGE);
  return done;
}

const char *axi_timeout_enable(void) {
  if (getenv("BETA_ROOT") != NULL) return "the AXI timeout blocks are not touched under BETA_ROOT";
  const int memory = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
  if (memory < 0) return "the AXI timeout blocks need /dev/mem, which cannot be opened; set axiTimeout: false in the profile";
  const int done = enable(memory, FPD, FPD_BLOCKS) && enable(memory, LPD, LPD_BLOCKS);
  close(memory);
  return done ? NULL : "the AXI timeout blocks cannot be set (write-protected, or not mapped); set axiTimeout: false in the profile";
}
