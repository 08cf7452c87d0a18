/*
 * libbeta: what TypeScript cannot do itself. Volatile register access, barriers, the DMA window, the emulator and
 * the kernels; no policy. One header, one device vtable (device/device.h) behind it, every device equal.
 *
 * Conventions. Functions that can fail return 0 or a negative errno; beta_error() then has a sentence for people.
 * A device may be used from one thread at a time, except that beta_close must be the last call.
 */
#ifndef BETA_H
#define BETA_H

#include <stdint.h>

#include "beta_contract.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The library is built with hidden visibility: this marks what it exports. */
#if defined(__GNUC__)
#define BETA_API __attribute__((visibility("default")))
#else
#define BETA_API
#endif

typedef struct beta_device beta_device;

/* ABI of this header; the TypeScript side refuses a library with another number. */
#define BETA_ABI 2u
BETA_API uint32_t beta_abi(void);

/* The sentence that explains the last failure on this thread; never NULL, valid until the next call. */
BETA_API const char *beta_error(void);

/*
 * Opens a device by URI and gives it a DMA window.
 *   emu:[?option=value&...]   the emulator. threads: how many compute, a caller that waits or runs vector steps included (1; at
 *                             most 64). kernel: which one computes, of those this CPU supports (the fastest). max_k,
 *                             max_kp, ring_log2 lower the limits it reports.
 *   uio:NAME[/POOL][?spin=US] the engine of a board: the UIO device NAME, its window in the u-dma-buf POOL (beta-poolN for a NAME that ends
 *                             in N). spin: how long a wait looks at HEAD before it sleeps (10). threads: how many compute vector steps, the
 *                             caller included (1; at most 64). Opening reads registers: the caller has made sure that the
 *                             programmable logic is alive.
 * window_bytes: size of the window, a multiple of 64 KiB, < 4 GiB; of a board the most, because its pool has a size of its own. Its
 * memory is zero.
 * Returns 0 and the device, or -EINVAL (URI, option, size), -ENODEV (unknown scheme, no such device), -EBUSY (another process has it),
 * -ENOMEM, or what the system refused with.
 */
BETA_API int beta_open(const char *uri, uint64_t window_bytes, beta_device **device);
BETA_API void beta_close(beta_device *device);

/* Registers: aligned 32-bit volatile accesses (CONTRACT 2). An offset that is unaligned or outside the page reads 0. */
BETA_API uint32_t beta_reg_read(beta_device *device, uint32_t offset);
BETA_API void beta_reg_write(beta_device *device, uint32_t offset, uint32_t value);

/*
 * Whether the device is still there: 0, or -EIO once it was removed. Registers then read all ones, and nothing is touched any more. A
 * device is found to be gone by this, or by a wait.
 */
BETA_API int beta_alive(beta_device *device);

/* The window: address in this process, address on the engine's bus, bytes. */
BETA_API void *beta_window(beta_device *device);
BETA_API uint64_t beta_window_bus(const beta_device *device);
BETA_API uint64_t beta_window_bytes(const beta_device *device);

/* Doorbell: everything written so far becomes visible to the engine, then TAIL = tail. */
BETA_API void beta_kick(beta_device *device, uint32_t tail);

/*
 * Waits until (int32)(HEAD - sequence) >= 0, FAULT is not zero, or timeout_us have passed; then a load barrier.
 * Returns BETA_WAIT_DONE, BETA_WAIT_TIMEOUT or BETA_WAIT_FAULT, or a negative errno (the device is gone).
 * Sleeps by the contract's recipe (WAKE, IRQ_EN, re-test, block); a spurious wake-up is harmless. The deadline is the
 * caller's: it sees whether HEAD moved and waits again.
 */
#define BETA_WAIT_DONE 0
#define BETA_WAIT_TIMEOUT 1
#define BETA_WAIT_FAULT 2
BETA_API int beta_wait(beta_device *device, uint32_t sequence, uint32_t timeout_us);

/*
 * Interrupts since the device was opened: `taken` ended a sleep, `missed` are those that the kernel counted between two that were taken,
 * and `lost` did not come although their reason was visible. Of an engine with a board of its own the last two are 0. All 0 for the emulator.
 */
struct beta_irq_counts {
  uint64_t taken, missed, lost;
};
BETA_API void beta_irq_counts(beta_device *device, struct beta_irq_counts *counts);

/*
 * Cache maintenance of a window range before the engine reads it, and before the CPU reads what the engine wrote. The
 * emulator also learns from the first which operands changed, and from its second name that they were computed and are about to
 * change again: it keeps uploaded operands, weights as a rule, in a layout of its own. Returns 0 or -EINVAL (outside the window).
 */
BETA_API int beta_sync_for_device(beta_device *device, uint32_t offset, uint32_t bytes);
BETA_API int beta_sync_computed(beta_device *device, uint32_t offset, uint32_t bytes);
BETA_API int beta_sync_for_cpu(beta_device *device, uint32_t offset, uint32_t bytes);

/*
 * Runs `count` vector step records (vector/steps.yaml) in order on the calling thread; all operands lie in the window.
 * Returns 0, or -EINVAL with the index of the refused record in *failed: a record that is malformed or reaches outside
 * the window runs not at all.
 */
BETA_API int beta_vector_run(beta_device *device, const void *records, uint32_t count, uint32_t *failed);

/*
 * A program: a whole forward pass as descriptors, vector step records, and operations (vector/steps.yaml, enum operation; four u32
 * words each) that submit, wait, compute and synchronise in order. beta_program_load copies and checks it for windows of at least
 * `window_bytes`: every record is valid, every range inside, every descriptor and record comes once and in order, and nothing is left
 * unfinished. Returns 0 and the program, -EINVAL or -ENOMEM. It belongs to no device and outlives them.
 */
typedef struct beta_program beta_program;
BETA_API int beta_program_load(uint64_t window_bytes, const void *descriptors, uint32_t descriptor_count, const void *records,
                               uint32_t record_count, const void *operations, uint32_t operation_count, beta_program **program);
BETA_API void beta_program_free(beta_program *program);

/* What a run is given and what it leaves. */
typedef struct beta_run {
  uint32_t ring_off, ring_log2; /* the ring, as the engine was configured */
  uint32_t tail;                /* TAIL before; after the call, TAIL as it is */
  uint32_t timeout_us;          /* longest wait during which HEAD does not move */
  uint32_t position;            /* the operation that the run ended at; the number of operations where all are done */
  uint32_t record;              /* the record that was refused, if one was */
  uint32_t zero[2];
  double submit_ns, wait_ns, vector_ns, sync_ns; /* where the time went */
} beta_run;

/*
 * Runs a program on the calling thread. Returns BETA_WAIT_DONE; BETA_WAIT_TIMEOUT or BETA_WAIT_FAULT, with descriptors possibly still
 * in flight; BETA_RUN_GONE where HEAD is a count that this program cannot have caused; or a negative errno: -EINVAL where an index
 * array in the window is out of range (`record` has not run), or what beta_wait returns.
 *
 * `timeline`, where not NULL, gets nanoseconds since the run began: begin and end of every operation, then the submission and the
 * completion of every descriptor, as this thread saw them. It looks at HEAD between operations, and while it waits after every
 * descriptor, so what completes during a vector step has that step's end.
 */
#define BETA_RUN_GONE 3
BETA_API int beta_program_run(beta_device *device, const beta_program *program, beta_run *run, double *timeline);

/*
 * Cycles in a second of the core that the calling thread runs on, now: the fastest of several chains of dependent
 * additions (one cycle each, about 20 us a chain) in about `microseconds`, at least one. Interruptions lengthen some
 * chains and not the fastest. For benchmarks.
 */
BETA_API double beta_core_hz(uint32_t microseconds);

/*
 * Tells the service manager a state, such as "READY=1" (sd_notify). Returns 0, 1 where there is none (no NOTIFY_SOCKET), or a negative
 * errno.
 */
BETA_API int beta_notify(const char *state);

#ifdef __cplusplus
}
#endif

#endif
