"""(being laid out)"""
