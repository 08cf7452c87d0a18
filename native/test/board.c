/* The board's transport over files in place of sysfs and /dev: what it finds, refuses, waits for and survives. */
#define _GNU_SOURCE
#include "test/board_support.h"

#define WINDOW POOL_BYTES
#define LOG2 4u
#define UIO "/sys/class/uio/uio3"
#define POOL "/sys/class/u-dma-buf/beta-pool0"

static bool refuses(const char *uri, int code, const char *words) {
  beta_device *device = NULL;
  const int result = beta_open(uri, WINDOW, &device);
  if (device != NULL) beta_close(device);
  return check(result == code && strstr(beta_error(), words) != NULL, "%s is refused with %d (\"%s\"), and says: %s", uri, code, words,
               beta_error());
}

/* A terminal as /dev/uio3/irq that this test answers itself. */
static struct line open_terminal(const struct board_files *files) {
  struct line line;
  char irq[128];
  path_of(files, "/dev/uio3/irq", irq);
  if (!line_open_terminal(&line, irq)) exit(1);
  return line;
}

static void test_names(void) {
  struct board_files files = board_create(0);
  struct line line = open_terminal(&files);
  refuses("uio:", -EINVAL, "needs the name");
  refuses("uio:?spin=1", -EINVAL, "needs the name");
  refuses("uio:beta-qmm0/", -EINVAL, "needs the name");
  refuses("uio:beta-qmm0/../x", -EINVAL, "no name of a DMA pool");
  refuses("uio:beta-qmm0?spon=1", -EINVAL, "no option");
  refuses("uio:beta-qmm0?spin=10001", -EINVAL, "from 0 to 10000");
  refuses("uio:beta-qmm", -ENODEV, "no UIO device");
  refuses("uio:beta-qmm1", -ENODEV, "no UIO device");
  refuses("uio:beta-qmm0/other", -ENODEV, "is the module u-dma-buf loaded");
  refuses("uio:0123456789012345678901234567890123456789012345678901234567890123456789", -EINVAL, "needs the name");
  beta_device *device = open_device("uio:beta-qmm0/beta-pool0?spin=0", WINDOW);
  check(beta_window_bus(device) == POOL_BUS && beta_window_bytes(device) == POOL_BYTES, "the window is the pool, above 4 GiB");
  refuses("uio:beta-qmm0", -EBUSY, "another process");
  beta_close(device);
  put_file(&files, UIO "/name", "beta-qmm7\n");
  refuses("uio:beta-qmm7", -ENODEV, "beta-pool7");
  close(line.fd);
  board_destroy(&files);
}

static void test_registers(void) {
  const char *const size = UIO "/maps/map0/size", *const offset = UIO "/maps/map0/offset";
  struct board_files files = board_create(0x400);
  struct line line = open_terminal(&files);
  beta_device *device = open_device("uio:beta-qmm0", WINDOW);
  files.page[BETA_REG_MAX_K / 4] = 12345;
  beta_reg_write(device, BETA_REG_IMAGE3, 0xDEADBEEF);
  check(beta_reg_read(device, BETA_REG_MAX_K) == 12345 && files.page[BETA_REG_IMAGE3 / 4] == 0xDEADBEEF,
        "registers lie at map0/offset of their page");
  check(beta_reg_read(device, BETA_REGISTER_SPACE) == 0 && beta_reg_read(device, 2) == 0, "nothing outside is touched");
  check(beta_alive(device) == 0, "the device is there");
  beta_close(device);

  put_file(&files, size, "0xfff\n");
  refuses("uio:beta-qmm0", -EINVAL, "map0 has 0xFFF bytes");
  put_file(&files, size, "-1\n");
  refuses("uio:beta-qmm0", -EINVAL, "size");
  put_file(&files, size, "\n");
  refuses("uio:beta-qmm0", -EINVAL, "size");
  put_file(&files, size, "0x1000\n");
  put_file(&files, offset, "0x1000\n");
  refuses("uio:beta-qmm0", -EINVAL, "offset 0x1000");
  put_file(&files, offset, "0x402\n");
  refuses("uio:beta-qmm0", -EINVAL, "offset 0x402");
  put_file(&files, offset, "0x400\n");

  files.page[BETA_REG_ID / 4] = 0;
  files.page[BETA_REG_CTRL / 4] = 1;
  refuses("uio:beta-qmm0", -ENODEV, "ID reads 0x00000000");
  check(files.page[BETA_REG_CTRL / 4] == 1, "who does not answer is not written to");
  files.page[BETA_REG_ID / 4] = BETA_ENGINE_ID;
  files.page[BETA_REG_STATUS / 4] = 1;
  files.memory[5] = 0x55;
  const uint64_t began = now_us();
  refuses("uio:beta-qmm0", -EBUSY, "does not stop");
  check(now_us() - began < 4 * SECOND && files.memory[5] == 0x55,
        "an engine that does not stop is given up in time, and its memory is left alone");
  files.page[BETA_REG_STATUS / 4] = 0;
  device = open_device("uio:beta-qmm0", WINDOW);
  check(files.memory[5] == 0, "the window of one that stops is zero");
  beta_close(device);
  close(line.fd);
  board_destroy(&files);
}

static void test_pool(void) {
  struct board_files files = board_create(0);
  struct line line = open_terminal(&files);
  const char *const bus = POOL "/phys_addr", *const size = POOL "/size", *const mode = POOL "/sync_mode";
  beta_device *device = open_device("uio:beta-qmm0", WINDOW / 2);
  check(beta_window_bytes(device) == WINDOW / 2, "a window smaller than the pool");
  beta_close(device);
  put_file(&files, size, "%u\n", POOL_BYTES - 1);
  device = open_device("uio:beta-qmm0", WINDOW);
  check(beta_window_bytes(device) == WINDOW - BETA_WINDOW_ALIGN, "a window of whole 64 KiB");
  beta_close(device);
  put_file(&files, size, "%u\n", POOL_BYTES);
  put_file(&files, bus, "0x%llx\n", (unsigned long long)POOL_BUS - 0x1000);
  device = open_device("uio:beta-qmm0", WINDOW);
  check(beta_window_bus(device) == POOL_BUS && beta_window_bytes(device) == WINDOW - BETA_WINDOW_ALIGN,
        "a pool that is not aligned to 64 KiB holds a window that is");
  *(uint8_t *)beta_window(device) = 0x77;
  check(files.memory[0x1000] == 0x77, "at the right bytes of it");
  check(beta_sync_for_device(device, 0, 16) == 0 &&
            strcmp(get_file(&files, POOL "/sync_for_device"), "0x0000100000000045") == 0,
        "and synchronises at those: %s", get_file(&files, POOL "/sync_for_device"));
  beta_close(device);
  put_file(&files, bus, "0x%llx\n", (unsigned long long)POOL_BUS);

  device = open_device("uio:beta-qmm0", WINDOW);
  check(strcmp(get_file(&files, POOL "/sync_for_device"), "0x0000000000040005") == 0, "a new window is written back whole");
  check(beta_sync_for_device(device, 0x10020, 0x100) == 0 &&
            strcmp(get_file(&files, POOL "/sync_for_device"), "0x0001000000000145") == 0,
        "for the device: offset, whole lines, direction 1");
  check(beta_sync_for_cpu(device, 0x3FFF0, 16) == 0 &&
            strcmp(get_file(&files, POOL "/sync_for_cpu"), "0x0003FFC000000049") == 0,
        "for the CPU: offset, whole lines, direction 2");
  check(beta_sync_for_cpu(device, 0, 0) == 0 && strcmp(get_file(&files, POOL "/sync_for_cpu"), "0x0003FFC000000049") == 0,
        "of nothing is nothing");
  check(beta_sync_for_cpu(device, 0x3FFF0, 17) == -EINVAL, "past the window is refused");
  beta_close(device);

  put_file(&files, POOL "/sync_for_device", "untouched");
  put_file(&files, POOL "/dma_coherent", "1\n");
  device = open_device("uio:beta-qmm0", WINDOW);
  check(beta_sync_for_device(device, 0, 64) == 0 && strcmp(get_file(&files, POOL "/sync_for_device"), "untouched") == 0,
        "a coherent pool is not synchronised");
  beta_close(device);
  put_file(&files, POOL "/dma_coherent", "0\n");

  put_file(&files, mode, "5\n");
  refuses("uio:beta-qmm0", -EINVAL, "sync_mode 5");
  put_file(&files, mode, "2\n");
  put_file(&files, size, "65535\n");
  refuses("uio:beta-qmm0", -EINVAL, "hold no window");
  put_file(&files, size, "x\n");
  refuses("uio:beta-qmm0", -EINVAL, "size");
  put_file(&files, size, "%u\n", POOL_BYTES);
  put_file(&files, bus, "0xffffffffffff0000\n");
  refuses("uio:beta-qmm0", -EINVAL, "hold no window");
  put_file(&files, bus, "0x1ffffffffffffffff\n");
  refuses("uio:beta-qmm0", -EINVAL, "phys_addr");
  put_file(&files, bus, "0x%llx\n", (unsigned long long)POOL_BUS);
  char path[128];
  path_of(&files, POOL "/sync_for_cpu", path);
  unlink(path);
  refuses("uio:beta-qmm0", -ENOENT, "no sync ioctl");
  path_of(&files, "/dev/beta-pool0", path);
  unlink(path);
  refuses("uio:beta-qmm0", -ENOENT, "cannot be opened");
  close(line.fd);
  board_destroy(&files);
}

/* --- with an engine at the other end --- */

static bool submit_nops(beta_device *device, uint32_t *tail, uint32_t count) {
  const beta_descriptor nop = {.op = BETA_OP_NOP};
  for (uint32_t i = 0; i < count; i++) put_descriptor(device, LOG2, *tail + i, &nop);
  *tail += count;
  beta_kick(device, *tail);
  return beta_wait(device, *tail, 5 * SECOND) == BETA_WAIT_DONE;
}

static void test_interrupts(void) {
  struct board_files files = board_create(0);
  struct engine_side side;
  struct beta_irq_counts counts;
  engine_side_start(&side, &files);
  beta_device *device = open_device("uio:beta-qmm0?spin=0", WINDOW);
  check(start(device, LOG2), "the engine starts");
  uint32_t tail = 0;
  bool good = true;
  for (uint32_t i = 0; i < 300; i++) good = good && submit_nops(device, &tail, 1 + i % 16);
  beta_irq_counts(device, &counts);
  check(good && counts.taken > 0 && counts.missed == 0 && counts.lost == 0,
        "300 fences: %llu interrupts taken, %llu missed, %llu lost", (unsigned long long)counts.taken,
        (unsigned long long)counts.missed, (unsigned long long)counts.lost);

  const uint64_t began = now_us();
  check(beta_wait(device, tail + 1, 300000) == BETA_WAIT_TIMEOUT && now_us() - began >= 290000 && now_us() - began < 2 * SECOND,
        "a wait for what nobody submitted ends in time");
  beta_descriptor bad = {.op = 9};
  put_descriptor(device, LOG2, tail, &bad);
  beta_kick(device, tail + 1);
  check(beta_wait(device, tail + 1, 5 * SECOND) == BETA_WAIT_FAULT &&
            (beta_reg_read(device, BETA_REG_FAULT) & BETA_FAULT_CODE_MASK) == BETA_FAULT_OP,
        "a fault wakes the wait");
  tail = 0;
  check(start(device, LOG2) && submit_nops(device, &tail, 3), "and after a reset work goes on");

  /* The line is cut: HEAD is the truth, and the loss is seen. */
  __atomic_store_n(&side.deaf, 1, __ATOMIC_SEQ_CST);
  good = true;
  for (uint32_t i = 0; i < 10; i++) good = good && submit_nops(device, &tail, 1);
  beta_irq_counts(device, &counts);
  check(good && counts.lost > 0, "without interrupts work is late, not lost: %llu seen as lost", (unsigned long long)counts.lost);
  __atomic_store_n(&side.deaf, 0, __ATOMIC_SEQ_CST);

  /* The device side stops: HEAD stays, the wait ends in its time; it comes back, and so does the work. */
  engine_side_halt(&side);
  check(!submit_nops(device, &tail, 1) && beta_reg_read(device, BETA_REG_HEAD) == tail - 1, "a stuck HEAD is a timeout");
  side.stop = 0;
  pthread_create(&side.thread, NULL, engine_side_run, &side);
  check(beta_wait(device, tail, 5 * SECOND) == BETA_WAIT_DONE, "that ends when the device goes on");
  beta_close(device);
  engine_side_end(&side);
  board_destroy(&files);
}

static void test_missed(void) {
  struct board_files files = board_create(0);
  struct line line = open_terminal(&files);
  struct beta_irq_counts counts;
  beta_device *device = open_device("uio:beta-qmm0?spin=0", WINDOW);
  const uint32_t totals[] = {42, 45, 46}; /* `event` said 41 */
  bool sent = true;
  for (size_t i = 0; i < 3; i++) sent = sent && write(line.fd, &totals[i], 4) == 4;
  check(sent && beta_wait(device, 1, 250000) == BETA_WAIT_TIMEOUT, "interrupts without a reason are spurious");
  beta_irq_counts(device, &counts);
  check(counts.taken == 3 && counts.missed == 2 && counts.lost == 0, "the total shows two that nobody took");
  beta_close(device);
  close(line.fd);
  board_destroy(&files);
}

struct removal {
  struct engine_side *side;
};

static void *remove_soon(void *argument) {
  sleep_us(50000);
  engine_side_end(((struct removal *)argument)->side);
  return NULL;
}

/*
 * The terminal's own other end is kept open by the line, so the hang-up comes from this end alone, as from a driver that is unbound.
 */
static void test_removed(void) {
  struct board_files files = board_create(0);
  struct engine_side side;
  engine_side_start(&side, &files);
  beta_device *device = open_device("uio:beta-qmm0?spin=0", WINDOW);
  start(device, LOG2);
  uint32_t tail = 0;
  check(submit_nops(device, &tail, 1), "the engine works");
  struct removal removal = {&side};
  pthread_t thread;
  pthread_create(&thread, NULL, remove_soon, &removal);
  const uint64_t began = now_us();
  const int result = beta_wait(device, tail + 1, 10 * SECOND);
  check(result == -EIO && now_us() - began < 2 * SECOND && strstr(beta_error(), "the device is gone") != NULL,
        "a device that goes away ends the wait: %s", beta_error());
  pthread_join(thread, NULL);
  check(beta_reg_read(device, BETA_REG_ID) == UINT32_MAX, "its registers read all ones");
  const uint32_t ctrl = files.page[BETA_REG_CTRL / 4];
  beta_reg_write(device, BETA_REG_CTRL, !ctrl);
  beta_kick(device, 99);
  check(files.page[BETA_REG_CTRL / 4] == ctrl && files.page[BETA_REG_TAIL / 4] != 99, "and are not written any more");
  check(beta_wait(device, 0, SECOND) == -EIO && beta_alive(device) == -EIO, "every later call says so");
  beta_close(device);

  engine_side_start(&side, &files);
  device = open_device("uio:beta-qmm0", WINDOW);
  tail = 0;
  check(start(device, LOG2) && submit_nops(device, &tail, 5), "a device that is back can be opened again");
  engine_side_end(&side);
  check(beta_alive(device) == -EIO, "one that goes while nobody waits is found by asking");
  beta_close(device);
  board_destroy(&files);
}

static void test_qmm(void) {
  struct board_files files = board_create(0);
  struct engine_side side;
  engine_side_start(&side, &files);
  beta_device *device = open_device("uio:beta-qmm0", WINDOW);
  start(device, LOG2);
  const beta_descriptor qmm = small_qmm();
  uint8_t *window = beta_window(device);
  memset(window + qmm.a_off, 0xFF, 32);
  bool good = true;
  /* B changes in place: an engine that kept it would repeat itself. */
  for (uint32_t i = 0; i < 50; i++) {
    memset(window + qmm.b_off, i % 2 != 0 ? 0xFF : 0, 48);
    put_descriptor(device, LOG2, i, &qmm);
    beta_kick(device, i + 1);
    int32_t result;
    if (beta_wait(device, i + 1, 5 * SECOND) != BETA_WAIT_DONE) good = false;
    memcpy(&result, window + qmm.o_off, sizeof result);
    if (result != (i % 2 != 0 ? 100 : -100)) good = false;
  }
  check(good, "50 products of operands that change in place");
  beta_close(device);
  engine_side_end(&side);
  board_destroy(&files);
}

int main(void) {
  test_names();
  test_registers();
  test_pool();
  test_interrupts();
  test_missed();
  test_removed();
  test_qmm();
  return finish();
}
