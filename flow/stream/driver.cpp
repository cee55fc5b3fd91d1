// Sends frames, pixel by pixel, through a network with AXI4-Stream ports, and writes what comes out with the cycle in which it came.
// usage: Vdut BEATS BYTES RESULTS BYTES STARTS COUNT GAP STALL SEED PACE PATIENCE [WAVES.vcd]   (waves: when built with --trace-vcd)
//   BEATS: of each pixel a byte (1: first of its frame, 2: last of its row) and BYTES bytes, little endian
//   RESULTS: of each pixel the cycle (8 bytes), a byte (1: damaged, 2: last of its frame) and BYTES bytes
//   STARTS: the cycle in which the first pixel of each frame was taken (8 bytes)
//   COUNT: results to wait for; GAP, STALL: percent of cycles in which a side pauses; PACE: cycles between two pixels at least
//   PATIENCE: cycles in which nothing moves, after which the network is taken to be stuck
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "Vdut.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

using Bytes = std::vector<std::uint8_t>;
constexpr int RESET = 5, FLUSH = 512;  // cycles; after the last result that is wanted none may follow

template <class Port> void put(Port& port, const std::uint8_t* bytes, std::size_t count) {
    std::memset(static_cast<void*>(&port), 0, sizeof port);
    std::memcpy(static_cast<void*>(&port), bytes, count < sizeof port ? count : sizeof port);
}

template <class Port> void get(const Port& port, Bytes& bytes) {
    std::memcpy(bytes.data(), static_cast<const void*>(&port), bytes.size() < sizeof port ? bytes.size() : sizeof port);
}

int fail(const char* what, const char* name = "") {
    std::fflush(stdout);  // else what the network printed comes behind
    return std::fprintf(stderr, "%s%s\n", what, name), 3;
}

int main(int argc, char** argv) {
    if (argc != 12 && argc != 13) return fail("usage: see driver.cpp");
    const auto number = [&](int i) { return std::strtoul(argv[i], nullptr, 10); };
    const std::size_t width = number(2), out_width = number(4);
    const unsigned long want = number(6), gap = number(7), stall = number(8), patience = number(11);
    const double pace = std::strtod(argv[10], nullptr);
    std::FILE *in = std::fopen(argv[1], "rb"), *out = std::fopen(argv[3], "wb"), *starts = std::fopen(argv[5], "wb");
    if (!in || !out || !starts) return fail("cannot open ", !in ? argv[1] : !out ? argv[3] : argv[5]);

    std::mt19937 random(number(9));
    const auto pauses = [&](unsigned long percent) { return percent != 0 && random() % 100 < percent; };
    auto context = std::make_unique<VerilatedContext>();
    context->randReset(2);  // registers start with random bits: a result that depends on them cannot be right by luck
    context->randSeed(static_cast<int>(number(9)) + 1);
    context->traceEverOn(argc == 13);
    auto dut = std::make_unique<Vdut>(context.get());
#if VM_TRACE
    VerilatedVcdC waves;
    if (argc == 13) {
        dut->trace(&waves, 99);
        waves.open(argv[12]);
    }
    const auto dump = [&] { waves.dump(context->time()), context->timeInc(1); };
#else
    const auto dump = [] {};
#endif
    const auto edge = [&] {
        dump();  // the inputs are set
        dut->aclk = 1;
        dut->eval();
        dump();
        dut->aclk = 0;
        dut->eval();
    };
    dut->aclk = 0, dut->aresetn = 0, dut->s_axis_tvalid = 0, dut->m_axis_tready = 0;
    dut->eval();
    for (int i = 0; i < RESET; ++i) edge();
    dut->aresetn = 1;
    edge();
    std::printf("reset is over\n");  // a register that prints before is not initialised

    Bytes beat(width + 1), result(out_width, 0), held(out_width, 0);
    bool have = false, offering = false, waits = false;
    std::uint8_t held_flags = 0;
    unsigned long cycle = 0, sent = 0, got = 0, idle = 0, rest = FLUSH;
    while (rest != 0 && idle < patience) {
        if (!have) have = std::fread(beat.data(), 1, beat.size(), in) == beat.size();
        // an offer stays until it is taken
        if (!offering) offering = have && static_cast<double>(cycle) >= pace * static_cast<double>(sent) && !pauses(gap);
        dut->s_axis_tvalid = offering;
        if (offering) {
            dut->s_axis_tuser = beat[0] & 1, dut->s_axis_tlast = beat[0] >> 1 & 1;
            put(dut->s_axis_tdata, beat.data() + 1, width);
        }
        dut->m_axis_tready = !pauses(stall);
        dut->eval();
        const bool took = offering && dut->s_axis_tready, gave = dut->m_axis_tvalid && dut->m_axis_tready;
        if (dut->m_axis_tvalid) {
            get(dut->m_axis_tdata, result);
            const std::uint8_t flags = static_cast<std::uint8_t>(dut->m_axis_tuser | dut->m_axis_tlast << 1);
            if (waits && (result != held || flags != held_flags)) return fail("a result changed while it waited");
            held = result, held_flags = flags;
            if (gave) {
                const std::size_t rows = std::fwrite(&cycle, 8, 1, out) + std::fwrite(&flags, 1, 1, out);
                if (rows != 2 || std::fwrite(result.data(), 1, out_width, out) != out_width) return fail("cannot write ", argv[3]);
                ++got;
            }
        } else if (waits) {
            return fail("a result was withdrawn while it waited");
        }
        waits = dut->m_axis_tvalid && !gave;
        if (took && (beat[0] & 1) && std::fwrite(&cycle, 8, 1, starts) != 1) return fail("cannot write ", argv[5]);
        edge();
        ++cycle;
        if (took) have = offering = false, ++sent;
        idle = took || gave ? 0 : idle + 1;
        if (got >= want) --rest;
    }
    dut->final();
#if VM_TRACE
    waves.close();
#endif
    std::fclose(in);
    if (std::fclose(out) != 0 || std::fclose(starts) != 0) return fail("cannot write the results");
    std::printf("%lu cycles, %lu pixels taken, %lu results\n", cycle, sent, got);
    return 0;
}
