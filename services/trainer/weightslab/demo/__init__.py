"""Training runs on real data, to try WeightsLab with."""
