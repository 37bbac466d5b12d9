"""How far an explanation deserves trust: data sets, metrics, studies, advice."""
