/* Written by coefficients.py: do not edit. Relative errors are those of the fits. */

/* (2^f - 1) / f, the factor that keeps 2^f - 1 accurate near f = 0. Relative error 2.0e-17. */
#define CHS_EXP2_f64                                                                                                   \
    {6.9314718055994531e-1, 2.4022650695910098e-1, 5.5504108664821594e-2, 9.6181291076068885e-3,                       \
     1.3333558146416935e-3, 1.540353044173605e-4,  1.5252733829836118e-5, 1.321544258792169e-6,                        \
     1.0178062445845774e-7, 7.0725859492692237e-9, 4.4549605981865184e-10}

/* (2^f - 1) / f, the factor that keeps 2^f - 1 accurate near f = 0. Relative error 1.2e-8. */
#define CHS_EXP2_f32 {6.93147188e-1f, 2.40226508e-1f, 5.55035711e-2f, 9.61808256e-3f, 1.33908634e-3f, 1.54531629e-4f}

/* (2^f - 1) / f, the factor that keeps 2^f - 1 accurate near f = 0. Relative error 6.5e-16. */
#define CHS_EXP2_TABLE_f64                                                                                             \
    {6.9314718055994575e-1, 2.4022650695910075e-1, 5.5504108656639299e-2,                                              \
     9.6181291069195379e-3, 1.3333781576784269e-3, 1.5403723980749256e-4}

/* (2^f - 1) / f, the factor that keeps 2^f - 1 accurate near f = 0. Relative error 9.8e-6. */
#define CHS_EXP2_TABLE_f32 {6.93153956e-1f, 2.40227681e-1f}

/* erf(x) / x as a function of s = x^2. Relative error 4.0e-18. */
#define CHS_ERF_f64                                                                                                    \
    {                                                                                                                  \
        1.1283791670955126,     -3.7612638903183474e-1, 1.1283791670925353e-1,                                         \
        -2.6866170632887929e-2, 5.22397737302147e-3,    -8.5482977536749669e-4,                                        \
        1.2053335124353741e-4,  -1.484584925970787e-5,  1.4725865480556744e-6}

/* erf(x) / x as a function of s = x^2. Relative error 1.4e-9. */
#define CHS_ERF_f32 {1.12837917f, -3.7612609e-1f, 1.12828314e-1f, -2.67577327e-2f, 4.71908257e-3f}

/* (x + a) e^{x^2} erfc(x) at x = a (1 + t) / (1 - t): smooth on the whole half line x >= 0. Relative error 2.0e-17. */
#define CHS_ERFC_f64                                                                                                   \
    {1.0740069070883397,      -8.8339445316988346e-1, 5.9022835710410172e-1,  -3.1046726190058359e-1,                  \
     1.1952776128729657e-1,   -2.6827234624041666e-2, -1.2124166273809991e-3, 3.0340619959404214e-3,                   \
     -5.4830968925216798e-4,  -2.7677781323338717e-4, 1.0756146675383788e-4,  3.03980483596444e-5,                     \
     -1.7470475977542633e-5,  -4.7490198079413943e-6, 2.7651479916016477e-6,  9.9880245182342826e-7,                   \
     -4.0756884426822986e-7,  -2.3383735980435184e-7, 4.5654700372257149e-8,  5.1170941546516312e-8,                   \
     -7.1537511454951815e-10, -8.6891722967356299e-9, -1.0795037278510775e-9, 8.1026686240032569e-10,                  \
     1.8102815683637525e-10}

/* (x + a) e^{x^2} erfc(x) at x = a (1 + t) / (1 - t): smooth on the whole half line x >= 0. Relative error 1.0e-8. */
#define CHS_ERFC_f32                                                                                                   \
    {1.07400691f,     -8.83394452e-1f, 5.90227966e-1f,  -3.10467358e-1f, 1.19532377e-1f, -2.68261005e-2f,              \
     -1.23258275e-3f, 3.02908369e-3f,  -5.07609782e-4f, -2.6663477e-4f,  6.77336749e-5f, 2.0254132e-5f}

/* sin(x) / x as a function of s = x^2. Relative error 3.2e-19. */
#define CHS_SIN_f64                                                                                                    \
    {1.0,                                                                                                              \
     -1.6666666666666665e-1,                                                                                           \
     8.3333333333331864e-3,                                                                                            \
     -1.9841269841208675e-4,                                                                                           \
     2.7557319211229607e-6,                                                                                            \
     -2.505210689056952e-8,                                                                                            \
     1.605894087848656e-10,                                                                                            \
     -7.6430265579716327e-13,                                                                                          \
     2.7215749422983443e-15}

/* sin(x) / x as a function of s = x^2. Relative error 6.6e-9. */
#define CHS_SIN_f32 {9.99999996e-1f, -1.66666579e-1f, 8.33305017e-3f, -1.98090174e-4f, 2.60510764e-6f}

/* Bits of 2^(k/16), k = 0 .. 15, less k << 48. */
#define CHS_EXP2_ROOTS_f64                                                                                             \
    {0x3ff0000000000000, 0x3fefb5586cf9890f, 0x3fef72b83c7d517b, 0x3fef387a6e756238,                                   \
     0x3fef06fe0a31b715, 0x3feedea64c123422, 0x3feebfdad5362a27, 0x3feeab07dd485429,                                   \
     0x3feea09e667f3bcd, 0x3feea11473eb0187, 0x3feeace5422aa0db, 0x3feec49182a3f090,                                   \
     0x3feee89f995ad3ad, 0x3fef199bdd85529c, 0x3fef5818dcfba487, 0x3fefa4afa2a490da}

/* pi/2 in three parts; n times each of the first two is exact for |n| < 2^20 (f64), 2^13 (f32). */
#define CHS_HALF_PI_f64 {1.5707963267341256, 6.077100506303966e-11, 2.0222662487959507e-21}

/* Bits of 2^(k/32), k = 0 .. 31, less k << 18. */
#define CHS_EXP2_ROOTS_f32                                                                                             \
    {0x3f800000, 0x3f7ecd87, 0x3f7daac3, 0x3f7c980f, 0x3f7b95c2, 0x3f7aa43a, 0x3f79c3d3, 0x3f78f4f0,                   \
     0x3f7837f0, 0x3f778d3a, 0x3f76f532, 0x3f767043, 0x3f75fed7, 0x3f75a15b, 0x3f75583f, 0x3f7523f6,                   \
     0x3f7504f3, 0x3f74fbaf, 0x3f7508a4, 0x3f752c4d, 0x3f75672a, 0x3f75b9be, 0x3f76248c, 0x3f76a81e,                   \
     0x3f7744fd, 0x3f77fbb8, 0x3f78ccdf, 0x3f79b907, 0x3f7ac0c7, 0x3f7be4ba, 0x3f7d257d, 0x3f7e83b3}

/* pi/2 in three parts; n times each of the first two is exact for |n| < 2^20 (f64), 2^13 (f32). */
#define CHS_HALF_PI_f32 {1.5703125f, 4.83751297e-4f, 7.54978995e-8f}

#define CHS_ERFC_CENTRE 3.0
