//! What one lane computes: integers, floats of every width with their rounding, conversions, approximations.
