Softmax over keys that come tile by tile, in base 2: scores are multiplied by log2(e) before.

//@ OnlineSoftmax
// One row: its running maximum and the sum of its weights against that maximum.
struct OnlineSoftmax {
    float max = -infinity();
    float sum = 0.0f;

    // Takes a new maximum in; gives the factor for everything summed so far. A row that has seen no key stays at zero.
    __device__ float rise(float candidate) {
        const float next = fmaxf(max, candidate);
        const float factor = max == -infinity() ? 0.0f : exp2f(max - next);
        max = next;
        sum *= factor;
        return factor;
    }

    // The weight of a score under the present maximum.
    __device__ float weight(float score) const { return score == -infinity() ? 0.0f : exp2f(score - max); }
};
