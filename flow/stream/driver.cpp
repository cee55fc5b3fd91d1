#include "Vdut.h"
#include "verilated.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
#include <random>
// args: beats.bin (each: 1 byte flags (1 sof, 2 eol), W bytes) W out.bin OW gap% stall% seed
template <class T> void put(T &p, const unsigned char *b, size_t n) { std::memset(&p, 0, sizeof p); std::memcpy(&p, b, n < sizeof p ? n : sizeof p); }
int main(int c, char **a) {
  size_t w = atoi(a[2]), ow = atoi(a[4]); int gap = atoi(a[5]), stall = atoi(a[6]); std::mt19937 rng(atoi(a[7]));
  FILE *f = fopen(a[1], "rb"), *o = fopen(a[3], "wb"); std::vector<unsigned char> beat(w + 1), out(ow + 16);
  Vdut d; bool have = false, offering = false; long cycle = 0, idle = 0;
  d.aresetn = 0; d.aclk = 0; d.s_axis_tvalid = 0; d.m_axis_tready = 0; d.eval(); for (int i = 0; i < 4; i++) { d.aclk = 1; d.eval(); d.aclk = 0; d.eval(); } d.aresetn = 1; d.eval(); d.aclk=1; d.eval(); d.aclk=0; d.eval();
  bool end = false;
  while (idle < 3000) {
    if (!have && !end) { if (fread(beat.data(), 1, w + 1, f) == w + 1) have = true; else end = true; }
    if (!offering) offering = have && (int)(rng() % 100) >= gap;
    d.s_axis_tvalid = offering; 
    if (offering) { d.s_axis_tuser = beat[0] & 1, d.s_axis_tlast = beat[0] >> 1 & 1; put(d.s_axis_tdata, beat.data() + 1, w); }
    d.m_axis_tready = (int)(rng() % 100) >= stall; d.eval();
    bool took = d.s_axis_tvalid && d.s_axis_tready, gave = d.m_axis_tvalid && d.m_axis_tready;
    if (gave) { std::memset(out.data(), 0, out.size()); std::memcpy(out.data(), &d.m_axis_tdata, sizeof d.m_axis_tdata < ow ? sizeof d.m_axis_tdata : ow); fwrite(&cycle, 8, 1, o); unsigned char u = d.m_axis_tuser; fwrite(&u, 1, 1, o); fwrite(out.data(), 1, ow, o); }
    d.aclk = 1; d.eval(); d.aclk = 0; d.eval(); cycle++;
    if (took) { have = false; offering = false; idle = 0; } else if (gave) idle = 0; else if (end) idle++;
    if (cycle > 50000000) break;
  }
  fclose(o); return 0;
}
