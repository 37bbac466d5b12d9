"""Pictures of tables, of one sample or of many: waterfalls, swarms, bars, points, maps, networks."""
