#include "bnnlab_kernels.h"
#include "bnnlab_network.h"
#include "bnnlab_limits.h"
