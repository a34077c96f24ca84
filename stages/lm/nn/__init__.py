"""The network and its sharding: config, attention, decoder, rotary positions, projections."""
