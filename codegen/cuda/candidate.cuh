The best of many values, the same whatever the order in which they meet: of equals the one with the lowest index.

//@ not_a_number
__device__ inline float not_a_number() { return __int_as_float(0x7fc00000); }

//@ kNone
// The index of no candidate at all.
constexpr int kNone = 0x7fffffff;

//@ Candidate
// A value and where it stands; what is not a number is no candidate.
struct Candidate {
    float value = 0.0f;
    int index = kNone;
    __device__ void meet(float other, int other_index) {
        const bool better = index == kNone || other > value || (other == value && other_index < index);
        if (other_index != kNone && other == other && better) {
            value = other;
            index = other_index;
        }
    }
};

//@ warp_best
// The best of all lanes' candidates, in all lanes.
__device__ inline Candidate warp_best(Candidate own) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const float value = __shfl_xor_sync(0xffffffffu, own.value, step);
        const int index = __shfl_xor_sync(0xffffffffu, own.index, step);
        own.meet(value, index);
    }
    return own;
}
