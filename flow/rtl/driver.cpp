// Streams packed words through the design, one new row every clock cycle, and writes the output after every cycle.
// usage: Vdut INPUTS INPUT_BYTES OUTPUTS OUTPUT_BYTES [WAVES.vcd]   (waves: when built with --trace-vcd)
// Rows are little endian and padded with zeros to a multiple of 8 bytes, which holds any port type of Verilator.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "Vdut.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

int main(int argc, char** argv) {
    if (argc != 5 && argc != 6) return std::fprintf(stderr, "usage: Vdut INPUTS INPUT_BYTES OUTPUTS OUTPUT_BYTES [WAVES.vcd]\n"), 2;
    const std::size_t in_bytes = std::strtoul(argv[2], nullptr, 10), out_bytes = std::strtoul(argv[4], nullptr, 10);
    std::FILE* in = std::fopen(argv[1], "rb");
    std::FILE* out = std::fopen(argv[3], "wb");
    if (!in || !out) return std::fprintf(stderr, "cannot open %s\n", in ? argv[3] : argv[1]), 2;

    auto context = std::make_unique<VerilatedContext>();
    context->randReset(2);  // registers start with random bits: a result that depends on them cannot be right by luck
    context->traceEverOn(argc == 6);
    auto dut = std::make_unique<Vdut>(context.get());
    if (sizeof(dut->model_inp) > in_bytes || sizeof(dut->model_out) > out_bytes)
        return std::fprintf(stderr, "the ports are wider than the rows\n"), 2;

#if VM_TRACE
    VerilatedVcdC waves;
    if (argc == 6) {
        dut->trace(&waves, 99);
        waves.open(argv[5]);
    }
    const auto dump = [&] { waves.dump(context->time()); };
#else
    const auto dump = [] {};
#endif
    std::vector<std::uint8_t> row(in_bytes), result(out_bytes, 0);
    unsigned long cycles = 0;
    while (std::fread(row.data(), 1, in_bytes, in) == in_bytes) {
        std::memcpy(static_cast<void*>(&dut->model_inp), row.data(), sizeof(dut->model_inp));
        for (int level = 0; level < 2; ++level) {
            dut->clk = level;
            dut->eval();
            dump();
            context->timeInc(1);
        }
        std::memcpy(result.data(), static_cast<const void*>(&dut->model_out), sizeof(dut->model_out));
        if (std::fwrite(result.data(), 1, out_bytes, out) != out_bytes) return std::fprintf(stderr, "cannot write %s\n", argv[3]), 2;
        ++cycles;
    }
    dut->final();
#if VM_TRACE
    waves.close();
#endif
    std::fclose(in);
    if (std::fclose(out) != 0) return std::fprintf(stderr, "cannot write %s\n", argv[3]), 2;
    std::printf("%lu cycles\n", cycles);
    return 0;
}
