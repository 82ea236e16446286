/* SPDX-License-Identifier: MIT */
/* version.h - the version of libmp; CMakeLists.txt reads it from here. */
#ifndef MP_VERSION_H
#define MP_VERSION_H

#define MP_VERSION_MAJOR 0
#define MP_VERSION_MINOR 1
#define MP_VERSION_PATCH 0

#endif
