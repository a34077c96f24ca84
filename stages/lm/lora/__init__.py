"""LoRA: adapters on projections, and their files in the layout of PEFT."""
