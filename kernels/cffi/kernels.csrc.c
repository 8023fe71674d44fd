#include "bnnlab_kernels.h"
