"""hls4ml: conversion to Vitis HLS C++, and its C-simulation with g++."""
