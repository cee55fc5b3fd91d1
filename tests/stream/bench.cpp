// Sends pixels through several networks at once, each with AXI4-Stream ports, and writes what each gives.
// usage: Vdut GAP STALL SEED RESET_AT STALL_FROM STALL_TO
//   in<N>.bin: of each pixel a byte (1: first of its frame, 2: last of its row) and the pixel; out<N>.bin: cycle (8 bytes), a byte (1: damaged,
//   2: last of its frame) and the pixel. GAP, STALL: percent of cycles in which a side pauses; nobody takes anything from STALL_FROM to
//   STALL_TO; in cycle RESET_AT (0: never) the networks are reset, while no pixel is offered.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "Vdut.h"
#include "lanes.h"
#include "verilated.h"

constexpr unsigned long PATIENCE = 2500;  // cycles in which nothing moves
static std::mt19937 rng;
static unsigned long cycle = 0, idle = 0;

static void check(bool good, const char* what, int lane) {
    if (good) return;
    std::fprintf(stderr, "network %d, cycle %lu: %s\n", lane, cycle, what);
    std::exit(3);
}

struct Lane {
    std::FILE *in = nullptr, *out = nullptr;
    std::vector<std::uint8_t> beat, result, held;
    bool have = false, offering = false, waits = false;
    int number = 0;

    void open(int lane, std::size_t width, std::size_t out_width) {
        number = lane;
        in = std::fopen(("in" + std::to_string(lane) + ".bin").c_str(), "rb");
        out = std::fopen(("out" + std::to_string(lane) + ".bin").c_str(), "wb");
        check(in && out, "cannot open its files", lane);
        beat.resize(width + 1), result.resize(out_width + 1), held.resize(out_width + 1);
    }
    template <class Valid, class Flag, class Data> void offer(Valid& valid, Flag& user, Flag& last, Data& data, unsigned gap, bool reset) {
        if (reset) offering = false;
        if (!have) have = std::fread(beat.data(), 1, beat.size(), in) == beat.size();
        if (!offering) offering = have && !reset && rng() % 100 >= gap;
        // what lies at the input while no pixel is offered must not matter
        const auto bits = static_cast<std::uint8_t>(offering ? beat[0] : rng());
        valid = offering, user = bits & 1, last = bits >> 1 & 1;
        std::memset(static_cast<void*>(&data), 0, sizeof data);
        for (std::size_t i = 1; i < beat.size(); ++i)
            reinterpret_cast<std::uint8_t*>(&data)[i - 1] = offering ? beat[i] : static_cast<std::uint8_t>(rng());
    }
    template <class Data> void take(bool accepted, bool valid, bool ready, bool user, bool last, const Data& data, bool reset) {
        if (offering && accepted) have = offering = false, idle = 0;
        if (waits && !reset) check(valid, "a result was withdrawn while it waited", number);
        if (valid) {
            result[0] = static_cast<std::uint8_t>(user | last << 1);
            std::memcpy(result.data() + 1, static_cast<const void*>(&data), result.size() - 1);
            if (waits && !reset) check(result == held, "a result changed while it waited", number);
            held = result;
        }
        if (valid && ready) {
            std::fwrite(&cycle, 8, 1, out), std::fwrite(result.data(), 1, result.size(), out);
            idle = 0;
        }
        waits = valid && !ready;
    }
};

int main(int argc, char** argv) {
    if (argc != 7) return 2;
    const auto number = [&](int i) { return std::strtoul(argv[i], nullptr, 10); };
    const unsigned gap = number(1), stall = number(2);
    const unsigned long reset_at = number(4), from = number(5), to = number(6);
    rng.seed(number(3));
    auto context = std::make_unique<VerilatedContext>();
    context->randReset(2);  // registers start with random bits
    context->randSeed(static_cast<int>(number(3)) + 1);
    auto dut = std::make_unique<Vdut>(context.get());
    std::vector<Lane> lanes(LANE_COUNT);
#define OPEN(i, width, out_width) lanes[i].open(i, width, out_width);
    LANES(OPEN)
    dut->aclk = 0;
    for (; idle < PATIENCE; ++cycle, ++idle) {
        const bool reset = cycle < 4 || (reset_at && cycle >= reset_at && cycle < reset_at + 4);
        dut->aresetn = !reset;
#define OFFER(i, width, out_width)                                                                        \
    lanes[i].offer(dut->n##i##_s_valid, dut->n##i##_s_user, dut->n##i##_s_last, dut->n##i##_s_data, gap, reset); \
    dut->n##i##_m_ready = rng() % 100 >= stall && (cycle < from || cycle >= to);
        LANES(OFFER)
        dut->eval();
#define TAKE(i, width, out_width)                                                                                                \
    if (cycle > 4) lanes[i].take(dut->n##i##_s_ready, dut->n##i##_m_valid, dut->n##i##_m_ready, dut->n##i##_m_user, dut->n##i##_m_last, \
                                 dut->n##i##_m_data, reset || (reset_at && cycle == reset_at + 4));
        LANES(TAKE)
        if (cycle < to) idle = 0;
        dut->aclk = 1;
        dut->eval();
        dut->aclk = 0;
        dut->eval();
    }
    for (auto& lane : lanes) check(std::fclose(lane.out) == 0, "cannot write its results", lane.number);
    return 0;
}
