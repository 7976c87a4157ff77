"""Distributed fine-tuning of NVIDIA Nemotron 3.5 ASR on Ray; start with README.md and `jobs/`."""
